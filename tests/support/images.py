"""Images for the tests of this folder: made here, never stored."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import PIL.Image

RED = (255, 0, 0)
BLUE = (0, 0, 255)


def halves(width: int = 40, height: int = 20) -> PIL.Image.Image:
    """Left half red, right half blue; a green band along the top, so that every orientation looks different."""
    image = PIL.Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    image.paste((0, 255, 0), (0, 0, width, height // 4))
    return image


def encode(image: PIL.Image.Image, format_name: str, **options: Any) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, format_name, **options)
    return encoded.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, *, depth: int = 8, color: int = 2, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG written by hand: any header, whether it makes sense or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def cmyk_profile() -> bytes:
    """A tiny ICC output profile that maps every ink to one light blue (Lab 60, -20, -40), darker with black."""
    blue, black = bytes([round(60 * 2.55), 128 - 20, 128 - 40]), bytes([0, 128, 128])
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + (blue + black) * 8 + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text\0\0\0\0none\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"tiny\0" + bytes(78)
    tags = [(b"A2B0", table), (b"wtpt", white), (b"cprt", text), (b"desc", name)]
    offset, index, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags:
        padded = data + bytes(-len(data) % 4)
        index += tag + struct.pack(">II", offset + len(body), len(data))
        body += padded
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + body


def damaged_fax() -> bytes:
    """A TIFF in fax group 4 of which some lines are nonsense: libtiff shows it, and complains."""
    data = bytearray(encode(_noise(200).convert("1"), "TIFF", compression="group4"))
    for place in range(600, 900, 50):
        data[place] ^= 0xFF
    return bytes(data)


def damaged_deflate() -> bytes:
    """A TIFF that libtiff cannot unpack."""
    data = bytearray(encode(_noise(64), "TIFF", compression="tiff_adobe_deflate"))
    at = data.index(b"\x78", 8)
    data[at + 40 : at + 90] = bytes(50)
    return bytes(data)


def _noise(side: int) -> PIL.Image.Image:
    return PIL.Image.frombytes("L", (side, side), random.Random(side).randbytes(side * side))
