"""Writes GGUF files: metadata as raw pairs, so that what is copied stays byte-exact, and tensors one at a time.

The reading side is :mod:`ggufvlm.gguf.header`. Version 3, little-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack_from
from typing import BinaryIO, TypeAlias

from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import ARRAY_TYPE, SCALAR_TYPES, STRING_TYPE, GGUFHeader, TensorInfo, padded, read_header
from ggufvlm.version import upgrade_command

Pairs: TypeAlias = dict[str, bytes]
"""Key -> type and value as they stand in a file, without the key."""

ALIGNMENT = 32
_VERSION = 3
_CODES = {word: (number, code) for number, (word, code) in SCALAR_TYPES.items()}
_SIZES = {number: len(pack(f"<{code}", 0)) for number, code in _CODES.values()}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTensor:
    """A tensor to write: shape in ggml's order (rows last); ``data`` is called once, when it is written."""

    name: str
    shape: tuple[int, ...]
    ggml_type: int
    data: Callable[[], bytes | memoryview]

    @property
    def n_bytes(self) -> int:
        """Size of its data."""
        size = TensorInfo(shape=self.shape, ggml_type=self.ggml_type, offset=0).n_bytes
        if size is None:
            raise ValueError(f"{self.name}: unknown ggml type {self.ggml_type}")
        return size


def encode_value(word: str, value: object) -> bytes:
    """Type and value for :data:`Pairs`; ``word`` is spelled as in ``GGUFHeader.types``: ``uint32``, ``[int32]``."""
    if not word.startswith("["):
        number = STRING_TYPE if word == "string" else _CODES[word][0]
        return pack("<I", number) + _encode(word, value)
    if not isinstance(value, Sequence):
        raise TypeError(f"an array is wanted, not {value!r}")
    element = word[1:-1]
    number = STRING_TYPE if element == "string" else _CODES[element][0]
    return pack("<IIQ", ARRAY_TYPE, number, len(value)) + b"".join(_encode(element, item) for item in value)


def _encode(word: str, value: object) -> bytes:
    return _string(str(value)) if word == "string" else pack(f"<{_CODES[word][1]}", value)


def _string(text: str) -> bytes:
    data = text.encode()
    return pack("<Q", len(data)) + data


def read_pairs(path: Path, header: GGUFHeader | None = None) -> Pairs:
    """The metadata of a GGUF file as raw pairs.

    Raises:
        ModelError: not a sound GGUF file.
    """
    header = header or read_header(path)
    with path.open("rb") as file:
        data = file.read(header.data_offset)
    count: int = unpack_from("<q", data, 16)[0]
    pairs: Pairs = {}
    position = 24
    for _ in range(count):
        key, position = _take_string(data, position)
        end = _end_of_value(data, position)
        pairs[key] = data[position:end]
        position = end
    return pairs


def _take_string(data: bytes, position: int) -> tuple[str, int]:
    start = position + 8
    end = start + unpack_from("<Q", data, position)[0]
    return data[start:end].decode(errors="surrogateescape"), end


def _end_of_value(data: bytes, position: int) -> int:
    (number,) = unpack_from("<I", data, position)
    position += 4
    count = 1
    if number == ARRAY_TYPE:
        number, count = unpack_from("<IQ", data, position)
        position += 12
    if number != STRING_TYPE:
        return position + count * _SIZES[number]
    for _ in range(count):
        position += 8 + unpack_from("<Q", data, position)[0]
    return position


def encode_header(pairs: Mapping[str, bytes], tensors: Sequence[NewTensor], alignment: int = ALIGNMENT) -> bytes:
    """Everything that comes before the data of the first tensor.

    Args:
        pairs: the metadata.
        tensors: in the order of their data.
        alignment: of each tensor's data, in bytes.
    """
    parts = [b"GGUF", pack("<Iqq", _VERSION, len(tensors), len(pairs))]
    for key, value in pairs.items():
        name = key.encode(errors="surrogateescape")
        parts += [pack("<Q", len(name)), name, value]
    offset = 0
    for tensor in tensors:
        sides = len(tensor.shape)
        parts.append(_string(tensor.name) + pack(f"<I{sides}qiQ", sides, *tensor.shape, tensor.ggml_type, offset))
        offset += padded(tensor.n_bytes, alignment)
    head = b"".join(parts)
    return head.ljust(padded(len(head), alignment), b"\0")


def write_gguf(
    file: BinaryIO,
    pairs: Mapping[str, bytes],
    tensors: Sequence[NewTensor],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a whole GGUF file.

    Args:
        file: open for writing, at its beginning.
        pairs: the metadata; ``general.alignment`` among it is heeded.
        tensors: in the order in which they are written; each is asked for its data only then.
        progress: gets the number of written tensors and of all.
    """
    alignment = _alignment(pairs)
    file.write(encode_header(pairs, tensors, alignment))
    for done, tensor in enumerate(tensors, 1):
        data = tensor.data()
        n_bytes = memoryview(data).nbytes
        if n_bytes != tensor.n_bytes:
            raise ValueError(f"{tensor.name}: {n_bytes} bytes of data, and {tensor.n_bytes} are due")
        file.write(data)
        file.write(bytes(padded(n_bytes, alignment) - n_bytes))
        if progress is not None:
            progress(done, len(tensors))


def _alignment(pairs: Mapping[str, bytes]) -> int:
    value = pairs.get("general.alignment")
    return ALIGNMENT if value is None else int.from_bytes(value[4:8], "little")


def copied(path: Path, header: GGUFHeader, names: Iterable[str] | None = None) -> list[NewTensor]:
    """The tensors of a file as they are, for :func:`write_gguf`.

    Args:
        path: the file.
        header: its whole header.
        names: those to take; ``None`` takes all.

    Raises:
        ModelError: the type of one is not known.
    """
    unknown = next((name for name, info in header.tensors.items() if info.n_bytes is None), None)
    if unknown is not None and (names is None or unknown in set(names)):
        raise ModelError(f"{path.name}: the tensor {unknown} has an unknown type", hint=upgrade_command())

    def reader(info: TensorInfo) -> Callable[[], bytes]:
        return lambda: read_tensor(path, header, info)

    return [
        NewTensor(name=name, shape=info.shape, ggml_type=info.ggml_type, data=reader(info))
        for name, info in header.tensors.items()
        if names is None or name in set(names)
    ]


def read_tensor(path: Path, header: GGUFHeader, info: TensorInfo) -> bytes:
    """The data of one tensor.

    Args:
        path: the file.
        header: its whole header.
        info: the tensor, one of the header's.

    Raises:
        ModelError: the file ends before it, or its type is not known.
    """
    if info.n_bytes is None:
        raise ModelError(f"{path.name}: a tensor has the unknown type {info.ggml_type}", hint=upgrade_command())
    with path.open("rb") as file:
        file.seek(header.data_offset + info.offset)
        data = file.read(info.n_bytes)
    if len(data) < info.n_bytes:
        raise ModelError(f"{path.name}: truncated", hint="download the file again")
    return data
