"""The EXIF block that a JPEG file without one gets: it holds what the standard asks of each (Exif 2.32, table 21)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ggufvlm.media.metadata.tiff import TiffFile

_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _YCBCR_POSITIONING, _EXIF_DIRECTORY = 282, 283, 296, 531, 34665
_INCH, _CENTERED, _DPI = 2, 1, 72
_SRGB, _UNCALIBRATED = 1, 0xFFFF
_CHANNELS = {1: b"\1\0\0\0", 3: b"\1\2\3\0"}
_RGB = b"\4\5\6\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class JpegHeader:
    """What a JPEG file says of itself outside of EXIF.

    Attributes:
        width: in pixels.
        height: in pixels.
        n_channels: one for grey, three for colours, four for CMYK.
        is_rgb: whether three channels are red, green and blue.
        has_profile: whether colours are those of an ICC profile.
        density: JFIF's unit (1 for inches, 2 for centimetres), and pixels per unit across and down.
    """

    width: int
    height: int
    n_channels: int
    is_rgb: bool
    has_profile: bool
    density: tuple[int, int, int]


def new_exif(header: JpegHeader) -> TiffFile:
    """An EXIF block without a description; what it says of the image is what the file says already."""
    details = _details(header)
    # an empty directory behind the details
    block = TiffFile(struct.pack("<2sHI", b"II", 42, 8 + len(details)) + details + b"\0" * 6)
    unit, x, y = header.density
    if unit not in (1, 2) or not x or not y:
        unit, x, y = 1, _DPI, _DPI
    block.put(_X_RESOLUTION, _RATIONAL, struct.pack("<II", x, 1))
    block.put(_Y_RESOLUTION, _RATIONAL, struct.pack("<II", y, 1))
    block.put(_RESOLUTION_UNIT, _SHORT, struct.pack("<H", _INCH + unit - 1))
    block.put(_YCBCR_POSITIONING, _SHORT, struct.pack("<H", _CENTERED))
    block.put(_EXIF_DIRECTORY, _LONG, struct.pack("<I", 8))
    return block


def _details(header: JpegHeader) -> bytes:
    is_srgb = not header.has_profile and header.n_channels in _CHANNELS
    channels = _RGB if header.is_rgb and header.n_channels == 3 else _CHANNELS.get(header.n_channels, bytes(4))
    entries = [
        (0x9000, _UNDEFINED, 4, b"0232"),  # ExifVersion
        (0x9101, _UNDEFINED, 4, channels),  # ComponentsConfiguration
        (0xA000, _UNDEFINED, 4, b"0100"),  # FlashpixVersion
        (0xA001, _SHORT, 1, struct.pack("<I", _SRGB if is_srgb else _UNCALIBRATED)),  # ColorSpace
        (0xA002, _LONG, 1, struct.pack("<I", header.width)),  # PixelXDimension
        (0xA003, _LONG, 1, struct.pack("<I", header.height)),  # PixelYDimension
    ]
    packed = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + bytes(4)
