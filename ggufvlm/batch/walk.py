"""The pictures below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from ggufvlm.batch.item import shown
from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media.formats import is_picture_name
from ggufvlm.media.patterns import natural_key

Found: TypeAlias = "tuple[Path, GGUFVLMError | None]"
"""A file, and why it cannot be read if that is plain to see."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files of a folder are wanted. Patterns are matched with the name and with the path below the folder.

    Attributes:
        include: in place of the endings of pictures.
        exclude: of what is left; a folder that matches is not entered.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, path: Path, root: Path) -> bool:
        """Whether a file is wanted."""
        wanted = _matches(path, root, self.include) if self.include else is_picture_name(path.name)
        return wanted and not self.excludes(path, root)

    def excludes(self, path: Path, root: Path) -> bool:
        """Whether a file or folder is not to be looked at."""
        return _matches(path, root, self.exclude)


def _matches(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    names = (path.name, path.relative_to(root).as_posix())
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def walk(root: Path, wanted: Filter) -> Iterator[Found]:
    """All pictures in a folder and the folders in it, in natural order, a folder's own files first.

    Hidden files and folders are left out. Links to folders are followed, each folder is entered once. What cannot be
    read is told: a folder that is named like a picture and holds none, and one that may not be looked into.
    """
    visited: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            state = folder.stat()
            with os.scandir(folder) as entries:
                found = sorted(
                    (e for e in entries if not e.name.startswith(".")), key=lambda e: natural_key(Path(e.name))
                )
        except OSError as error:
            yield folder, ImageError(f"{shown(folder)}: cannot be read ({error.strerror or error})")
            continue
        if (state.st_dev, state.st_ino) in visited:
            continue
        visited.add((state.st_dev, state.st_ino))
        below = [Path(entry.path) for entry in found if entry.is_dir()]
        files = [entry for entry in found if not entry.is_dir() and wanted.takes(Path(entry.path), root)]
        yield from map(_checked, files)
        if not files and not below and folder != root and wanted.takes(folder, root):
            yield folder, None
        folders += [path for path in reversed(below) if not wanted.excludes(path, root)]


def _checked(entry: os.DirEntry[str]) -> Found:
    path = Path(entry.path)
    if entry.is_file() or not path.exists():  # a link to nowhere is told when it is read
        return path, None
    return path, ImageError(f"{shown(path)}: not a regular file")
