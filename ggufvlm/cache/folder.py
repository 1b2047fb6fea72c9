"""The folder for what can be made again: derived projectors, what was seen in images, notes on files and library."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ggufvlm.errors import ModelError
from ggufvlm.files import expanded, personal_folder

CACHE_VARIABLE = "GGUFVLM_CACHE_DIR"
ANOTHER_FOLDER = f"{CACHE_VARIABLE}=FOLDER puts it elsewhere"
_MAX_NOTE = 200


def cache_dir() -> Path:
    """``GGUFVLM_CACHE_DIR``, or where the system keeps such things."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return expanded(folder)
    return personal_folder("cache")


def private_folder(name: str) -> Path:
    """A folder in the cache that only the user may look into; made if it is missing.

    Raises:
        ModelError: it cannot be made.
    """
    folder = cache_dir() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror or error}", hint=ANOTHER_FOLDER) from error
    return folder


def read_note(name: str) -> str | None:
    """What :func:`write_note` kept under this name."""
    try:
        with (cache_dir() / "notes" / name).open(encoding="ascii") as file:
            return file.read(_MAX_NOTE)
    except (OSError, ValueError):
        return None


def write_note(name: str, text: str) -> None:
    """Keep a line for later processes. Where nothing can be written, it is found out again next time."""
    from ggufvlm.files import replacing

    with contextlib.suppress(ModelError), replacing(private_folder("notes") / name) as partial:
        partial.write_text(text, encoding="ascii")
