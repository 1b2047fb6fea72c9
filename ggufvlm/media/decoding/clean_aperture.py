"""The part of an AVIF that is meant to be seen: Pillow turns such images as their container says, but crops none.

Boxes as in ISO/IEC 14496-12 (``clap``: 12.1.4) and ISO/IEC 23008-12 (``pitm``, ``ipco`` and ``ipma``: 9.3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge in pixels, as Pillow's ``crop`` takes them."""

_MOST_BOXES = 1000
_IS_ESSENTIAL_16, _IS_ESSENTIAL_8 = 0x8000, 0x80


def clean_aperture(data: bytes, width: int, height: int) -> Box | None:
    """The part of the image that its container asks for; ``None`` for all of it.

    Args:
        data: the whole file, an AVIF.
        width: of the decoded image, before it is turned.
        height: likewise.
    """
    try:
        meta = _Boxes(data, 0, len(data)).find(b"meta")
        if meta is None:
            return None
        within = _Boxes(data, meta[0] + 4, meta[1])  # behind version and flags
        primary, properties = within.find(b"pitm"), within.find(b"iprp")
        if primary is None or properties is None:
            return None
        item = _number(data, primary[0] + 4, 2 if data[primary[0]] == 0 else 4)
        body = _clap_of(data, _Boxes(data, *properties), item)
        return None if body is None else _edges(body, width, height)
    except (struct.error, ArithmeticError, LookupError):
        return None


class _Boxes:
    """The boxes that lie beside each other between two places of a file."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._start, self._end = data, start, end

    def find(self, kind: bytes) -> tuple[int, int] | None:
        """Start and end of the contents of the first box of a kind."""
        return next(((start, end) for name, start, end in self if name == kind), None)

    def __iter__(self) -> Iterator[tuple[bytes, int, int]]:
        at = self._start
        for _ in range(_MOST_BOXES):
            if at + 8 > self._end:
                return
            size, head = _number(self._data, at, 4), 8
            if size == 1:
                size, head = _number(self._data, at + 8, 8), 16
            end = at + size if size else self._end
            if (size and size < head) or end > self._end:
                return
            yield self._data[at + 4 : at + 8], at + head, end
            at = end


def _clap_of(data: bytes, properties: _Boxes, item: int) -> bytes | None:
    """The contents of an item's ``clap``."""
    container, associations = properties.find(b"ipco"), properties.find(b"ipma")
    if container is None or associations is None:
        return None
    known = [(kind, data[start:end]) for kind, start, end in _Boxes(data, *container)]
    for index in _associated(data, associations[0], item):
        if 0 < index <= len(known) and known[index - 1][0] == b"clap":
            return known[index - 1][1]
    return None


def _associated(data: bytes, at: int, wanted: int) -> list[int]:
    """The numbers, from 1, of an item's properties."""
    id_size, index_size = (2 if data[at] == 0 else 4), (2 if data[at + 3] & 1 else 1)
    essential = _IS_ESSENTIAL_16 if index_size == 2 else _IS_ESSENTIAL_8
    n_items, at = _number(data, at + 4, 4), at + 8
    for _ in range(min(n_items, _MOST_BOXES)):
        item, count = _number(data, at, id_size), data[at + id_size]
        at += id_size + 1
        if item == wanted:
            return [_number(data, at + i * index_size, index_size) & ~essential for i in range(count)]
        at += count * index_size
    return []


def _edges(body: bytes, width: int, height: int) -> Box | None:
    numbers = struct.unpack(">IIIIiIiI", body[:32])
    wide, high, right, down = (Fraction(numbers[i], numbers[i + 1]) for i in range(0, 8, 2))
    left, top = right + (width - wide) / 2, down + (height - high) / 2  # the offsets are those of the centres
    box = (round(left), round(top), round(left + wide), round(top + high))
    fits = 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height
    return box if fits else None


def _number(data: bytes, at: int, n_bytes: int) -> int:
    if at + n_bytes > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + n_bytes], "big")
