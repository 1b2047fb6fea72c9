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
        ModelError: it cannot be made, or belongs to another user.
    """
    folder = cache_dir() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror or error}", hint=ANOTHER_FOLDER) from error
    foreign = next((place for place in (cache_dir(), folder) if not _is_own(place)), None)
    if foreign is not None:
        raise ModelError(f"{foreign}: belongs to another user", hint=ANOTHER_FOLDER)
    return folder


def _is_own(folder: Path) -> bool:
    """Whether a folder is the user's or the system's: what somebody else put there is not to be loaded."""
    try:
        state = folder.stat()
    except OSError:
        return True  # there is nothing
    return not hasattr(os, "getuid") or state.st_uid in (os.getuid(), 0)


def read_note(name: str) -> str | None:
    """What :func:`write_note` kept under this name."""
    if not (_is_own(cache_dir()) and _is_own(cache_dir() / "notes")):
        return None
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
