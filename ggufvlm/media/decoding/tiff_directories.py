"""Which images of a TIFF are pages, told from its directories alone: no pixel is read.

A file may hold any number of images, each with its directory (TIFF 6.0, section 2; BigTIFF has the same with numbers of
8 bytes). Scanners and fax machines put a page into each. Cameras put thumbnails beside the one image, microscopes and
maps the same image smaller, and not all of them say so.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of TIFF and BigTIFF, in both orders of bytes."""

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 259, 262
_PAGE_NUMBER, _TILE_WIDTH, _DNG_VERSION = 297, 322, 50706
_REDUCED, _PAGE, _MASK = 1, 2, 4  # bits of the subfile type
_OLD_REDUCED, _OLD_PAGE = 2, 3
_RAW_PHOTOMETRIC = (32803, 34892)  # a colour filter before the sensor, linear raw
_RAW_COMPRESSION = (32767, 32769, 32770, 34713, 65535)  # of Sony, Packed raw, Samsung, Nikon, Pentax
_CR2 = b"CR\x02"
_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of numbers, by the type of their entry
_MOST_ENTRIES, _MOST_IN_ALL = 1000, 1_000_000
_FARTHEST = (1 << 63) - 1  # that a file can be searched
_THUMBNAIL, _MUCH_SMALLER = 1024, 4  # pixels, times


@dataclass(frozen=True, slots=True)
class _Directory:
    """What is told of an image: numbers by their tags; 0 stands for those that are no single number."""

    number: int
    tags: dict[int, int]

    @property
    def size(self) -> tuple[int, int]:
        return self.tags.get(_WIDTH, 0), self.tags.get(_HEIGHT, 0)

    @property
    def is_numbered(self) -> bool:
        kinds = self.tags.get(_SUBFILE, 0), self.tags.get(_OLD_SUBFILE)
        return _PAGE_NUMBER in self.tags or bool(kinds[0] & _PAGE) or kinds[1] == _OLD_PAGE

    @property
    def is_beside(self) -> bool:
        """Whether it says that it is a thumbnail or a mask, or has no size, as thumbnails of Exif."""
        if not all(self.size):
            return True
        return bool(self.tags.get(_SUBFILE, 0) & (_REDUCED | _MASK)) or self.tags.get(_OLD_SUBFILE) == _OLD_REDUCED

    @property
    def is_raw(self) -> bool:
        return (
            _DNG_VERSION in self.tags
            or self.tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRIC
            or self.tags.get(_COMPRESSION) in _RAW_COMPRESSION
        )

    def repeats(self, other: _Directory) -> bool:
        """Whether it is a smaller copy of another one, for a glance at it or to look at from afar."""
        (width, height), (whole_width, whole_height) = self.size, other.size
        has_its_shape = abs(width * whole_height - height * whole_width) <= whole_width + whole_height
        if self.is_numbered or not has_its_shape:
            return False
        if _TILE_WIDTH in self.tags:
            return 2 * width <= whole_width + 1
        return max(width, height) <= _THUMBNAIL and _MUCH_SMALLER * width <= whole_width


def page_directories(place: Path | bytes) -> list[int]:
    """The numbers, from 0, of the images of a TIFF that are pages; none if it is of a camera, or no TIFF.

    Args:
        place: the path of the file, or the whole of it.

    Raises:
        OSError: it cannot be read.
        EOFError: it is cut off: there is a page, and the next one lies behind its end.
    """
    with io.BytesIO(place) if isinstance(place, bytes) else place.open("rb") as file:
        pages: list[_Directory] = []
        for directory in _directories(file):
            if directory is None and pages:
                raise EOFError
            if directory is None or directory.is_raw:
                return []
            if not directory.is_beside and not (pages and directory.repeats(pages[0])):
                pages.append(directory)
    return [directory.number for directory in pages]


def has_pages(place: Path | bytes) -> bool:
    """Whether a file is a TIFF of several pages, or was one before it was cut off."""
    try:
        return len(page_directories(place)) > 1
    except EOFError:
        return True
    except (OSError, ValueError):
        return False


def n_pages(data: bytes) -> int:
    """How many pages a whole TIFF has; 0 of anything else."""
    try:
        return len(page_directories(data)) if data.startswith(SIGNATURES) else 0
    except (EOFError, ValueError):
        return 0


def _directories(file: BinaryIO) -> Iterator[_Directory | None]:
    """Each directory; ``None`` in place of one that lies behind the end of the file."""
    head = file.read(16)
    if head[:4] not in SIGNATURES or head[8:11] == _CR2:
        return
    order = "<" if head[:2] == b"II" else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(f"{order}HHQ8s" if is_big else f"{order}HHI4s")
    count, link = struct.Struct(f"{order}Q" if is_big else f"{order}H"), struct.Struct(order + ("Q" if is_big else "I"))
    at = link.unpack(head[8:16] if is_big else head[4:8])[0] if len(head) == 16 else 0
    seen, left = set[int](), _MOST_IN_ALL
    while at and at not in seen:
        seen.add(at)
        file.seek(min(at, _FARTHEST))
        head = file.read(count.size)
        n_entries = count.unpack(head)[0] if len(head) == count.size else 0
        left -= n_entries
        if n_entries > _MOST_ENTRIES or left < 0:
            return
        data = file.read(n_entries * entry.size + link.size)
        if len(data) < n_entries * entry.size + link.size:
            yield None
            return
        at = link.unpack_from(data, n_entries * entry.size)[0]
        entries = entry.iter_unpack(data[: n_entries * entry.size])
        yield _Directory(len(seen) - 1, {tag: _number(order, kind, n, value) for tag, kind, n, value in entries})


def _number(order: str, kind: int, count: int, value: bytes) -> int:
    form = _FORMATS.get(kind)
    if form is None or count != 1 or struct.calcsize(form) > len(value):
        return 0
    number: int = struct.unpack_from(order + form, value)[0]
    return number
