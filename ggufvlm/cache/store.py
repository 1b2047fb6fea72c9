"""A bounded folder of checksummed entries, for what can be computed again.

Several processes and threads may use one folder without locks: an entry is written beside its place and renamed into
it, never changed after that, and may vanish at any time. Trouble with the disk is logged and never raised.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias

from ggufvlm.errors import ModelError
from ggufvlm.files import replacing

logger = logging.getLogger(__name__)

Piece: TypeAlias = bytes | bytearray | memoryview

# magic, version, bytes of key, meta and payload, checksum of all else; then key, meta (JSON) and payload
_HEAD = Struct("<8sIIIQI")
_MAGIC, _VERSION = b"ggufvlm\x1a", 1
_ENTRY, _PARTIAL = ".entry", ".partial"
_ABANDONED = 3600  # seconds since the last write
_KEY = re.compile(r"[0-9a-f]{16,128}")


def digest(*parts: str) -> str:
    """A key made of parts: other parts, or the same text cut elsewhere, give another one."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogatepass")  # names of files may hold lone surrogates
        found.update(b"%d:%b" % (len(data), data))
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """What was kept: a few facts, and bytes."""

    meta: dict[str, Any]
    payload: memoryview


class Store:
    """Entries by key, least recently used first out.

    Args:
        folder: made when the first entry is kept; only the user may look into it.
        limit: bytes to keep at most. It shrinks where the disk is full: to a tenth of the space that is free or taken
            by this folder. What is larger than a quarter of it is not kept.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._held: int | None = None  # as far as this process knows
        self._since_scan = 0

    def get(self, key: str) -> Entry | None:
        """The entry, now the most recently used; ``None`` if there is none. A damaged or foreign one is removed."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                entry = _read(file, key)  # whole, not mapped: a file that shrinks under a mapping ends the process
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):  # not JSON, or nested without end
            entry = None
        except OSError as error:
            logger.warning("%s: cannot be read: %s", path, error)
            return None
        if entry is None:
            logger.warning("%s: damaged, removed", path)
            _remove(path)
            return None
        with contextlib.suppress(OSError):
            _touch(path)
        return entry

    def contains(self, key: str) -> bool:
        """Whether there is an entry, sound or not."""
        return self._path(key).is_file()

    def put(self, key: str, meta: Mapping[str, Any], payload: Sequence[Piece]) -> bool:
        """Keep an entry in place of an earlier one; returns whether it is kept.

        Args:
            meta: small, and fit for JSON.
            payload: pieces of the bytes to keep; each contiguous.
        """
        path = self._path(key)
        name, facts = key.encode(), json.dumps(dict(meta), separators=(",", ":")).encode()
        n_payload = sum(memoryview(piece).nbytes for piece in payload)
        head = _HEAD.pack(_MAGIC, _VERSION, len(name), len(facts), n_payload, 0)[:-4]
        pieces = [head, _checksum([head, name, facts, *payload]).to_bytes(4, "little"), name, facts, *payload]
        size = _HEAD.size + len(name) + len(facts) + n_payload
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._make_room(size):
                return False
            _write(path, pieces)
        except (OSError, ModelError) as error:
            logger.warning("%s: not kept: %s", self.folder, error)
            return False
        self._held = (self._held or 0) + size
        self._since_scan += size
        return True

    def remove(self, key: str) -> None:
        """Forget an entry, if there is one."""
        _remove(self._path(key))

    def stats(self) -> tuple[int, int]:
        """Number of entries, and their bytes."""
        found = self._scan()
        return len(found), sum(size for _, size, _ in found)

    def clear(self) -> int:
        """Remove all entries, and what is being written; returns the bytes freed."""
        self._held = None
        return sum(_remove(path) for path in _files(self.folder, (_ENTRY, _PARTIAL)))

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a hexadecimal digest: {key!r}")
        return self.folder / f"{key}{_ENTRY}"

    def _make_room(self, size: int) -> bool:
        """Drop what is too much; returns whether ``size`` bytes may be written then."""
        if self._held is None or self._since_scan > self.limit // 64:  # other processes write as well
            self._count()
        held = self._held or 0
        limit = min(self.limit, (shutil.disk_usage(self.folder).free + held) // 10)
        if size > limit // 4:
            return False
        if held + size > limit:
            self._evict(limit - size, spare=limit // 8)
        return True

    def _count(self) -> list[tuple[int, int, Path]]:
        found = self._scan()
        self._held, self._since_scan = sum(size for _, size, _ in found), 0
        return found

    def _evict(self, limit: int, spare: int) -> None:
        """Down to ``limit`` bytes, and ``spare`` less if it has to be: else every write would look at every file."""
        found = self._count()
        held = sum(size for _, size, _ in found)
        if held <= limit:
            return
        for _, size, path in sorted(found):
            if held <= limit - spare:
                break
            _remove(path)
            held -= size
        self._held = held

    def _scan(self) -> list[tuple[int, int, Path]]:
        """Time of last use in ns, bytes and path of each entry. Sweeps up what killed processes have left."""
        found = []
        for path in _files(self.folder, (_ENTRY, _PARTIAL)):
            with contextlib.suppress(OSError):
                state = path.lstat()
                if path.suffix == _ENTRY:
                    found.append((state.st_mtime_ns, state.st_size, path))
                elif time.time() - state.st_mtime > _ABANDONED:
                    path.unlink()
        return found


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        with os.scandir(folder) as items:
            return [
                Path(item.path)
                for item in items
                if item.name.endswith(suffixes) and not item.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _read(file: BufferedReader, key: str) -> Entry | None:
    """The entry if every byte of it is as it was written, under this key."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, version, n_key, n_meta, n_payload, checksum = _HEAD.unpack(head)
    size = os.fstat(file.fileno()).st_size
    if (magic, version) != (_MAGIC, _VERSION) or size != _HEAD.size + n_key + n_meta + n_payload:
        return None
    name, facts = file.read(n_key), file.read(n_meta)
    payload = _read_large(file, n_payload)
    if name != key.encode() or _checksum([head[:-4], name, facts, payload]) != checksum:
        return None
    return Entry(json.loads(facts), payload)


def _read_large(file: BufferedReader, n: int) -> memoryview:
    import numpy as np

    data = np.empty(n, np.uint8).data  # in huge pages, where there are any: twice as fast as bytes for 100 MB
    return data[: file.readinto(data)]


def _write(path: Path, pieces: Iterable[Piece]) -> None:
    with replacing(path) as partial:
        # only the user may read it, whatever the umask; a power cut may leave zeros, which the checksum finds
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
        _touch(partial)


def _checksum(pieces: Iterable[Piece]) -> int:
    """CRC-32: the fastest in Python's library by far, and damage is what it is for. Nobody else may write here."""
    found = 0
    for piece in pieces:
        found = zlib.crc32(piece, found)
    return found


def _touch(path: Path) -> None:
    # by our own clock: the kernel's lags by milliseconds, and uses would come in the wrong order
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _remove(path: Path) -> int:
    """Remove a file, if that is possible; returns the bytes freed."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except OSError:
        return 0
    return size
