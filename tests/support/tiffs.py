"""TIFF files of any number of images, written by hand: every tag, both orders of bytes, and BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

SUBFILE, PAGE_NUMBER, TILE_WIDTH = 254, 297, 322


def grey_page(width: int, height: int, level: int, **more: int) -> tuple[dict[int, int], bytes]:
    """Tags and pixels of an image of one level.

    Args:
        width: in pixels.
        height: likewise.
        level: of grey.
        more: other tags, by names as ``tag_254``; 0 takes one away.
    """
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height}
    tags |= {int(name.removeprefix("tag_")): value for name, value in more.items()}
    return {tag: value for tag, value in tags.items() if value}, bytes((level,)) * (width * height)


def tiff(
    images: Sequence[tuple[Mapping[int, int], bytes]], *, order: str = "<", is_big: bool = False, end: int = 0
) -> bytes:
    """The file.

    Args:
        images: of each the tags, without those of its strip, and the pixels.
        order: of bytes, ``<`` or ``>``.
        is_big: BigTIFF.
        end: what stands where the next directory would be named.
    """
    mark, word, step = (b"II" if order == "<" else b"MM"), ("Q" if is_big else "I"), (8 if is_big else 4)
    data = bytearray(mark + struct.pack(f"{order}H", 43 if is_big else 42))
    data += struct.pack(f"{order}HH", 8, 0) if is_big else b""
    link = len(data)
    data += bytes(step)
    for tags, pixels in images:
        at = len(data)
        data += pixels + bytes(-len(pixels) % 2)
        struct.pack_into(f"{order}{word}", data, link, len(data))
        entries = sorted({**tags, 273: at, 279: len(pixels)}.items())
        data += struct.pack(f"{order}{'Q' if is_big else 'H'}", len(entries))
        for tag, value in entries:
            data += struct.pack(f"{order}HH{word}I", tag, 4, 1, value) + bytes(step - 4)
        link = len(data)
        data += bytes(step)
    struct.pack_into(f"{order}{word}", data, link, end)
    return bytes(data)
