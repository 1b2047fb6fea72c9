"""Which files commands have written: a hash of each one's contents, which tells their outputs from what people made.

It says nothing about names or contents, and does not lie in the cache, which is emptied more often.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ggufvlm.errors import GGUFVLMError
from ggufvlm.files import personal_folder, replacing

_NAME = "written"
_DIGITS, _LINE = 32, 33  # of a hash, and of its line in bytes
_MOST = 100_000
_LARGEST = 1 << 30  # bytes: no command writes more into a file that it does not keep a journal of


def not_ours(paths: Iterable[Path]) -> list[Path]:
    """The files among these that hold something, and not what a command has written there or elsewhere."""
    there = [path for path in paths if path.is_file() and path.stat().st_size]
    if not there:
        return []
    known = _known()
    return [path for path in there if _hash(path) not in known]


def remember(path: Path) -> None:
    """Keep in mind that this file is an output. Where nothing can be kept, its next writer is asked."""
    digest = _hash(path) if path.is_file() else None
    if digest is None:
        return
    with contextlib.suppress(OSError, GGUFVLMError):
        notes = personal_folder("state") / _NAME
        notes.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, digest + b"\n")  # in one piece: others write here, too
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
        if size > 2 * _MOST * _LINE:
            with replacing(notes) as shorter:
                shorter.write_bytes(notes.read_bytes()[-_MOST * _LINE :])


def _known() -> set[bytes]:
    try:
        return set((personal_folder("state") / _NAME).read_bytes().split(b"\n"))
    except (OSError, GGUFVLMError):
        return set()


def _hash(path: Path) -> bytes | None:
    found = hashlib.sha256()
    try:
        if path.stat().st_size > _LARGEST:
            return None
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    except OSError:
        return None
    return found.hexdigest()[:_DIGITS].encode()
