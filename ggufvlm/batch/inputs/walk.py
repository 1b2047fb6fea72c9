"""The images, PDFs and videos below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from ggufvlm.batch.inputs.expand import kind_of_file
from ggufvlm.batch.item import false_on_oserror, shown
from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media.decoding.formats import is_document_name, is_image_name, may_be_video_name
from ggufvlm.media.decoding.kinds import FileKind
from ggufvlm.media.sources.patterns import natural_key


class FoundFile(NamedTuple):
    """A file.

    Attributes:
        error: why it cannot be read, if that is plain to see.
        below: its path below the folder that was named.
    """

    path: Path
    error: GGUFVLMError | None = None
    below: Path | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files of a folder are wanted. Patterns are matched with the name and with the path below the folder.

    Attributes:
        include: in place of the endings of images, PDFs and videos. Of endings that TypeScript and others have, too,
            the contents tell.
        exclude: of what is left; a folder that matches is not entered.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, path: Path, root: Path) -> bool:
        """Whether a file is wanted."""
        wanted = _matches(path, root, self.include) if self.include else _is_known(path)
        return wanted and not self.excludes(path, root)

    def excludes(self, path: Path, root: Path) -> bool:
        """Whether a file or folder is not to be looked at."""
        return _matches(path, root, self.exclude)


def _is_known(path: Path) -> bool:
    if may_be_video_name(path.name):
        return kind_of_file(path) is FileKind.VIDEO
    return is_image_name(path.name) or is_document_name(path.name)


def _matches(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    names = (path.name, path.relative_to(root).as_posix())
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def walk(root: Path, wanted: Filter) -> Iterator[FoundFile]:
    """All images, PDFs and videos in a folder and the folders in it, in natural order, a folder's own files first.

    Hidden files and folders are left out. Links to folders are followed, each folder is entered once. What cannot be
    read is told: a folder that is named like an image and holds none, and one that may not be looked into.
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
            yield FoundFile(folder, ImageError(f"{shown(folder)}: cannot be read ({error.strerror or error})"))
            continue
        if (state.st_dev, state.st_ino) in visited:
            continue
        visited.add((state.st_dev, state.st_ino))
        folder_names = {entry.name for entry in found if false_on_oserror(entry.is_dir)}
        below = [Path(entry.path) for entry in found if entry.name in folder_names]
        files = [e for e in found if e.name not in folder_names and wanted.takes(Path(e.path), root)]
        yield from (regular(Path(entry.path), Path(entry.path).relative_to(root)) for entry in files)
        if not files and not below and folder != root and wanted.takes(folder, root):
            yield FoundFile(folder)
        folders += [path for path in reversed(below) if not wanted.excludes(path, root)]


def regular(path: Path, below: Path | None = None) -> FoundFile:
    """A file that was come across; an error if it is a pipe, a device or the like, which nobody has named."""
    is_dangling = not false_on_oserror(path.exists)  # which is told when it is read
    if false_on_oserror(path.is_file) or is_dangling:
        return FoundFile(path, below=below)
    return FoundFile(path, ImageError(f"{shown(path)}: not a regular file"))
