"""What files have in common that were made from a published one: a place, a name, a look whether they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from ggufvlm.cache.folder import cache_dir, private_folder, read_note, write_note
from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import read_header

_ABANDONED = 3600  # seconds since the last write


def projectors_folder() -> Path:
    """Where derived projectors lie.

    Raises:
        ModelError: it cannot be made.
    """
    return private_folder("projectors")


def sweep(folder: Path) -> None:
    """Take away what killed processes have left: half a gigabyte each."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def is_whole(path: Path) -> bool:
    """Whether a GGUF file is there with all the bytes that its header announces."""
    try:
        header = read_header(path)
    except ModelError:
        return False
    return header.size_needed is not None and header.file_size >= header.size_needed


def content_id(path: Path) -> str:
    """32 hexadecimal digits that identify a file's content; read once for each state of the file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        name = _note_name(path)
        known = _known(name)
        if known is not None:
            return known
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    write_note(name, digest.hexdigest())
    return digest.hexdigest()[:32]


def derived_from(path: Path) -> list[Path]:
    """Files that were made from this one. Without a note of its content nothing was, so nothing is read."""
    try:
        known = _known(_note_name(path))
    except OSError:
        return []
    return sorted((cache_dir() / "projectors").glob(f"{known}-*")) if known else []


def _note_name(path: Path) -> str:
    found = path.stat()
    state = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
    return f"checksum-{hashlib.sha256(os.fsencode(state)).hexdigest()[:32]}"


def _known(name: str) -> str | None:
    known = read_note(name) or ""
    return known[:32] if len(known) == 64 and set(known) <= set("0123456789abcdef") else None
