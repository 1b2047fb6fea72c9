"""Icons and cursors as Pillow reads them right: the best image alone, with the transparency that is meant.

Pillow takes the image of fewest colours among those of a size, paints a cursor's transparent pixels black, believes an
alpha channel that is empty because the mask behind the pixels says what is transparent, and decodes an icon when it is
opened, whatever size it claims. The format is that of
https://learn.microsoft.com/en-us/previous-versions/ms997538(v=msdn.10): a directory of entries, and for each entry a
PNG, or a DIB of twice the height without file header: the colours, then a mask of one bit a pixel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD, _ENTRY = 6, 16  # bytes
_ICON = 1
_PLAIN, _WITH_MASKS = 0, 3  # kinds of compression
_SHORT_HEADER, _COLOR_MASKS = 40, 12  # bytes
_LARGEST = 256
_MOST_PIXELS = 1 << 24  # of a PNG within: no icon is that large


@dataclass(frozen=True, slots=True)
class _Entry:
    """An image of the file: its size in pixels, bits a pixel, and where it lies."""

    width: int
    height: int
    bits: int
    n_bytes: int
    offset: int

    def packed(self) -> bytes:
        sides = (side if side < _LARGEST else 0 for side in (self.width, self.height))
        return struct.pack("<BBBBHHII", *sides, 0, 0, 1, self.bits, self.n_bytes, self.offset)


def plain_icon(data: bytes) -> bytes:
    """An icon with only the largest image of an icon or a cursor, of those the one of most colours.

    Args:
        data: the whole file.

    Returns:
        The file with another directory.

    Raises:
        EOFError: there is no image in it, or none whose pixels fit into the file: Pillow would take memory for them.
        struct.error: it is cut off.
    """
    (count,) = struct.unpack_from("<H", data, 4)
    places = range(_HEAD, min(_HEAD + count * _ENTRY, len(data) - _ENTRY + 1), _ENTRY)
    entries = [entry for place in places if (entry := _entry(data, *struct.unpack_from("<II", data, place + 8)))]
    if not entries:
        raise EOFError
    best = max(entries, key=lambda entry: (entry.width * entry.height, entry.bits))
    return struct.pack("<HHH", 0, _ICON, 1) + best.packed() + data[_HEAD + _ENTRY :]


def _entry(data: bytes, n_bytes: int, offset: int) -> _Entry | None:
    """What the image itself says: in the directory of a cursor the place of its tip stands for the colours."""
    if offset < _HEAD + _ENTRY or offset + _SHORT_HEADER > len(data):
        return None
    if data.startswith(_PNG, offset):
        width, height = struct.unpack_from(">II", data, offset + 16)
        return _Entry(width, height, 32, n_bytes, offset) if 0 < width * height <= _MOST_PIXELS else None
    header, width, height, _, bits, kind = struct.unpack_from("<IiiHHI", data, offset)
    n_colors = struct.unpack_from("<I", data, offset + 32)[0]
    height = abs(height) // 2
    if header < _SHORT_HEADER or width < 1 or not height or kind not in (_PLAIN, _WITH_MASKS):
        return None
    start = offset + header + (_COLOR_MASKS if kind == _WITH_MASKS and header == _SHORT_HEADER else 0)
    if bits <= 8:
        start += 4 * (n_colors or 1 << bits)
    end_of_colors = start + _row(width * bits) * height
    end = end_of_colors + _row(width) * height
    if end_of_colors > len(data):
        return None
    if end > len(data):  # there is no mask
        return _Entry(width, height, bits, n_bytes, offset)
    if bits == 32 and not any(data[start + 3 : end_of_colors : 4]):
        bits = 24  # then Pillow looks at the mask
    return _Entry(width, height, bits, end - offset, offset)


def _row(n_bits: int) -> int:
    """Bytes of a row: a multiple of four."""
    return (n_bits + 31) // 32 * 4
