"""TIFF as cameras, scanners and microscopes write it: the image that is meant, as bright as it is."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ggufvlm.errors import ImageError
from ggufvlm.media import load
from ggufvlm.media.decoding.headers import header_size

Directory = list[tuple[int, int, int]]


def directory(width: int, height: int, bits: int, photometric: int, subfile: int, at: int, size: int) -> Directory:
    """The entries of an image of one strip: tag, type (3: 16 bits, 4: 32 bits), value."""
    return [
        *((254, 4, subfile), (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)),
        *((273, 4, at), (277, 3, 1), (278, 4, height), (279, 4, size)),
    ]


def tiff(*images: tuple[bytes, int, int, int, int, int]) -> bytes:
    """A TIFF of grey images: pixels, width, height, bits, photometric interpretation, subfile type."""
    data = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for pixels, width, height, bits, photometric, subfile in images:
        at = len(data)
        data += pixels + bytes(-len(pixels) % 2)
        struct.pack_into("<I", data, link, len(data))
        entries = directory(width, height, bits, photometric, subfile, at, len(pixels))
        data += struct.pack("<H", len(entries))
        for tag, kind, value in entries:
            data += struct.pack("<HHII", tag, kind, 1, value)  # little-endian: 16 bits come first
        link = len(data)
        data += bytes(4)
    return bytes(data)


def packed_12_bits(values: list[int]) -> bytes:
    bits = "".join(f"{value:012b}" for value in values)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def grey(data: bytes) -> list[int]:
    image = load(data)
    return list(np.frombuffer(image.rgb, np.uint8)[::3])


def test_twelve_bits_are_as_bright_as_they_are() -> None:
    data = tiff((packed_12_bits([0, 1024, 2048, 4095]), 4, 1, 12, 1, 0))
    assert grey(data) == pytest.approx([0, 64, 128, 255], abs=1)


@pytest.mark.parametrize(("photometric", "expected"), [(1, [0, 64, 128, 255]), (0, [255, 191, 127, 0])])
def test_sixteen_bits_where_white_is_zero_are_no_negative(photometric: int, expected: list[int]) -> None:
    pixels = struct.pack("<4H", 0, 16448, 32896, 65535)
    assert grey(tiff((pixels, 4, 1, 16, photometric, 0))) == pytest.approx(expected, abs=1)


def test_a_thumbnail_in_front_is_passed() -> None:
    small, whole = (bytes([9] * 4), 2, 2, 8, 1, 1), (bytes([200] * 64), 8, 8, 8, 1, 0)
    assert load(tiff(small, whole)).width == 8
    assert load(tiff((bytes(4), 2, 2, 8, 1, 4), small, whole)).width == 8
    assert load(tiff(whole, small)).width == 8


def test_a_dry_run_knows_the_size_of_the_image_that_is_meant() -> None:
    assert header_size(tiff((bytes(4), 2, 2, 8, 1, 1), (bytes(64), 8, 8, 8, 1, 0))) == (8, 8)


def test_a_thumbnail_alone_is_no_image_of_a_camera() -> None:
    with pytest.raises(ImageError, match="camera raw file, of which only a thumbnail of 2x2 can be read"):
        load(tiff((bytes(4), 2, 2, 8, 1, 1)))


@pytest.mark.parametrize("start", [b"FUJIFILMCCD-RAW 0201", b"IIU\0\x18\0\0\0", b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0"])
def test_raw_files_are_named(start: bytes) -> None:
    with pytest.raises(ImageError, match="a camera raw file"):
        load(start + bytes(100))
