"""Cursors and icons: what their mask leaves out is white, and not black."""

from __future__ import annotations

import struct

import pytest

from ggufvlm.errors import ImageError
from ggufvlm.media import load

RED, BLACK = (200, 10, 10), (0, 0, 0)


def icon(kind: int, bits: int = 24, size: int = 16) -> bytes:
    """An icon (1) or cursor (2): red in the left half, the right half left out by the mask."""
    pixel = bytes(reversed(RED)) + (b"\xff" if bits == 32 else b"")
    blank = bytes(len(pixel))
    rows = (pixel * (size // 2) + blank * (size // 2)) * size
    mask = (b"\x00\xff" + bytes(2)) * size  # a bit for each pixel, rows of four bytes
    header = struct.pack("<IiiHHIIiiII", 40, size, 2 * size, 1, bits, 0, 0, 0, 0, 0, 0)
    image = header + rows + mask
    spot = (7, 9) if kind == 2 else (1, bits)
    entry = struct.pack("<BBBBHHII", size, size, 0, 0, *spot, len(image), 22)
    return struct.pack("<HHH", 0, kind, 1) + entry + image


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("bits", [24, 32])
def test_what_the_mask_leaves_out_is_white(kind: int, bits: int) -> None:
    image = load(icon(kind, bits))
    assert (image.width, image.height) == (16, 16)
    assert tuple(image.rgb[:3]) == RED
    assert tuple(image.rgb[45:48]) == (255, 255, 255)


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("length", [4, 6, 10, 22, 40, 100])
def test_what_is_cut_off_is_told(kind: int, length: int) -> None:
    with pytest.raises(ImageError):
        load(icon(kind)[:length])
