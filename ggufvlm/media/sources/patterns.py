"""Folders and glob patterns -> the images in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.formats import (
    VIDEO_START,
    is_document_name,
    is_image_name,
    looks_like_video,
    may_be_video_name,
)
from ggufvlm.media.sources.labels import label
from ggufvlm.media.sources.read import expand_user, read_start

_ENDING = re.compile(r"[\w*?\[\]]+")


def has_magic(text: str) -> bool:
    """Whether ``text`` could be a glob pattern. Question marks at its end are punctuation."""
    return has_any_magic(text.rstrip("?"))


def has_any_magic(text: str) -> bool:
    """Whether a character of ``text`` means something in a glob pattern."""
    return any(character in text for character in "*?[")


def ends_like_glob(text: str) -> bool:
    """Whether ``text`` can only be meant as a glob pattern, matching or not.

    That is ``*.png``, ``shot?.*`` and ``shots/*``: nothing that a sentence ends with.
    """
    if not has_magic(text) or len(text.split()) != 1 or text[-1].isspace() or text[0].isspace():
        return False
    name = re.split(r"[/\\]", text)[-1]
    stem, _, ending = name.rpartition(".")
    return name.strip("*") == "" != name or (has_any_magic(stem) and _ENDING.fullmatch(ending) is not None)


def matches_something(pattern: str) -> bool:
    """Whether at least one path matches the glob pattern."""
    return next(_matches(pattern), None) is not None


def images_in(argument: str) -> list[str]:
    """The image files of a folder or a glob pattern, by their endings, 2 before 10; hidden files left out.

    Raises:
        ImageError: there are none, or the folder cannot be read.
    """
    folder = expand_user(argument)
    name = label(argument)
    try:
        found = list(folder.iterdir()) if folder.is_dir() else list(_matches(argument))
        # PDFs and videos only for whoever asks for their ending: *.pdf
        takes = is_document_name if is_document_name(argument) else is_image_name
        if may_be_video_name(argument):
            images = [path for path in found if _is_visible_file(path) and _is_video(path)]
        else:
            images = [path for path in found if _is_visible_file(path) and takes(path.name)]
    except PermissionError as error:
        raise ImageError(f"{name}: permission denied") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    if not images:
        raise ImageError(f"{name}: no images there", hint="name the file itself if its ending is unusual")
    return [str(path) for path in sorted(images, key=natural_key)]


def natural_key(path: Path) -> tuple[tuple[tuple[str | int, ...], ...], str]:
    """Sort key that orders numbers in names by value and letters without their case."""
    parts = tuple(
        # Splitting at digits alternates text and number, so that keys always compare like with like.
        tuple(int(piece) if place % 2 else piece.casefold() for place, piece in enumerate(re.split(r"(\d+)", part)))
        for part in path.parts
    )
    return parts, str(path)


def _is_visible_file(path: Path) -> bool:
    # macOS leaves ._photo.jpg next to photo.jpg on foreign disks: no image, whatever its ending says.
    return not path.name.startswith(".") and not path.is_dir()


def _is_video(path: Path) -> bool:
    try:
        return looks_like_video(read_start(path, path.name, VIDEO_START))
    except ImageError:
        return False


def _matches(pattern: str) -> Iterator[Path]:
    path = expand_user(pattern)
    anchor = path.anchor
    rest = str(path)[len(anchor) :]
    if not rest:
        return
    try:
        yield from Path(anchor).glob(rest)
    except (ValueError, NotImplementedError, IndexError, re.error, OSError):
        # `**bold**` is no valid pattern, and a sentence may be longer than a file name can be.
        return
