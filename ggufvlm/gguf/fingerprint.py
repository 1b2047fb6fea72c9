"""Which model a GGUF file holds, told from its bytes without reading gigabytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ggufvlm.cache.store import digest
from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import GGUFHeader, read_header
from ggufvlm.gguf.names import split_parts

_SAMPLE = 4096

_known: dict[tuple[str, int, int, int, int], str] = {}


def file_fingerprint(path: Path) -> str:
    """Identity of the contents of a GGUF file, all parts of a split model included; 64 hexadecimal digits.

    It covers the size, the whole header (metadata, vocabulary, chat template, tensor descriptions) and 4 KiB from the
    middle and from both ends of every tensor. So it tells apart other quantizations, fine-tunes, merged adapters and
    another vocabulary: each changes a header, or some tensor throughout. It does not tell apart files that differ in
    single weights between the samples: damage on the disk, or weights that somebody changed with the intent to deceive.
    A copy and a renamed file have the same fingerprint.

    It is computed once for each state of a file in a process.

    Raises:
        ModelError: not a sound GGUF file, not readable, or a part of a split model is missing.
    """
    return digest(*map(_fingerprint, split_parts(path)))


def _fingerprint(path: Path) -> str:
    try:
        found = path.stat()
        state = (str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if state not in _known:
            _known[state] = _sampled(path, read_header(path))
    except OSError as error:
        raise ModelError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    return _known[state]


def _sampled(path: Path, header: GGUFHeader) -> str:
    found = hashlib.sha256(b"%d %d " % (header.file_size, header.data_offset))
    with path.open("rb", buffering=0) as file:
        found.update(file.read(header.data_offset))
        for start, end in _samples(header):
            file.seek(start)
            found.update(file.read(end - start))
    return found.hexdigest()


def _samples(header: GGUFHeader) -> Iterator[tuple[int, int]]:
    """First byte and end of each piece of tensor data to look at."""
    # from offset to offset: that needs no knowledge of a tensor's type, which may be newer than this code
    starts = sorted(header.data_offset + tensor.offset for tensor in header.tensors.values())
    for start, end in zip(starts, [*starts[1:], header.file_size], strict=True):
        if end - start <= 3 * _SAMPLE:
            yield start, end
            continue
        middle = (start + end - _SAMPLE) // 2
        for first in (start, middle, end - _SAMPLE):
            yield first, first + _SAMPLE
