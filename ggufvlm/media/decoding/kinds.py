"""Image, PDF, scan of several pages or video: told from a file's contents, whatever its name says."""

from __future__ import annotations

import enum
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.media.decoding.formats import looks_like_video
from ggufvlm.media.decoding.tiff_directories import SIGNATURES, has_pages
from ggufvlm.media.sources.labels import label
from ggufvlm.media.sources.read import local_path, read_source, read_start

_HEAD = 4096  # bytes

# Readers of PDF take up to 1024 bytes of anything before the signature; a web page that shows one would pass as one.
_PDF = re.compile(rb"(?!\s*<).{0,1019}?%PDF-", re.DOTALL)


class FileKind(enum.Enum):
    """What a file has to be read with."""

    IMAGE = "image"
    PDF = "PDF"
    SCAN = "TIFF of several pages"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file whose kind is known.

    Attributes:
        kind: what it is by its contents; an image if it is nothing else.
        place: its path, or the whole of it where it has none.
        name: for messages and for ``Image.source``.
    """

    kind: FileKind
    place: Path | bytes
    name: str


def identify(source: str | os.PathLike[str]) -> MediaFile:
    """Look at the beginning of a file, and where it counts pages. Reads all that comes from a pipe or the network.

    Args:
        source: as for :func:`~ggufvlm.media.load`, a path, URL, data URI, ``-`` or ``clipboard:``.

    Raises:
        ImageError: missing, not allowed, not to be downloaded.
    """
    path = local_path(source)
    if path is not None and _is_regular(path):
        name = label(os.fspath(source))
        return MediaFile(kind_of(path, name), path, name)
    data, name = read_source(source)
    return MediaFile(kind_of(data, name), data, name)


def kind_of(place: Path | bytes, name: str = "<bytes>") -> FileKind:
    """The kind of a file.

    Args:
        place: its path, or the whole of it.
        name: for messages.

    Raises:
        ImageError: it cannot be read.
    """
    head = place[:_HEAD] if isinstance(place, bytes) else read_start(place, name, _HEAD)
    if _PDF.match(head):
        return FileKind.PDF
    if head.startswith(SIGNATURES) and has_pages(place):
        return FileKind.SCAN
    return FileKind.VIDEO if looks_like_video(head) else FileKind.IMAGE


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False  # read_source has the words for it
