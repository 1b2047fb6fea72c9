"""What a TIFF says of its first image, read without a decoder: to name a form that is not read.

The format is that of "TIFF Revision 6.0" (Adobe, 1992), and of BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 339
_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of whole numbers
_MOST_TAGS = 4096
_MOST_VALUES = 16
_COMPRESSIONS = {
    2: "CCITT run lengths",
    3: "fax group 3",
    4: "fax group 4",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    8: "Deflate",
    32773: "PackBits",
    32809: "ThunderScan",
    32946: "Deflate",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}
_FORMATS = {2: "signed numbers", 3: "floating point", 5: "complex numbers", 6: "complex floating point"}
_COLORS = {
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    9: "Lab",
    10: "Lab",
    32803: "a camera's sensor",
    32844: "LogL",
    32845: "LogLuv",
}


@dataclass(frozen=True, slots=True)
class TiffTags:
    """Whole numbers of the first image.

    Attributes:
        is_bigtiff, is_big_endian: how the file is written.
        values: those of each tag, the first of them.
    """

    is_bigtiff: bool
    is_big_endian: bool
    values: dict[int, tuple[int, ...]]

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return (self.values.get(tag) or (default,))[0]

    def form(self) -> str:
        """The form in words: ``3 samples of 32-bit floating point, LZW``."""
        n_samples, bits = self.first(SAMPLES, 1), self.values.get(BITS) or (1,)
        numbers = _FORMATS.get(self.first(SAMPLE_FORMAT, 1), "numbers")
        width = "/".join(map(str, dict.fromkeys(bits)))
        said = [f"{n_samples} {'sample' if n_samples == 1 else 'samples'} of {width}-bit {numbers}"]
        color, compression = self.first(PHOTOMETRIC, 1), self.first(COMPRESSION, 1)
        said += [_COLORS[color]] if color in _COLORS else []
        said += [_COMPRESSIONS.get(compression, f"compression {compression}")] if compression != 1 else []
        if self.is_bigtiff:
            said.append("big-endian BigTIFF" if self.is_big_endian else "BigTIFF")
        return ", ".join(said)


def read_tags(data: bytes) -> TiffTags:
    """The tags of the first image; those that lie outside of the file are left out.

    Raises:
        struct.error: the file is cut off before them.
    """
    order = ">" if data.startswith(b"MM") else "<"
    is_bigtiff = 43 in data[2:4]
    values: dict[int, tuple[int, ...]] = {}
    if is_bigtiff:
        (at,) = struct.unpack_from(f"{order}Q", data, 8)
        (n_tags,), at = struct.unpack_from(f"{order}Q", data, at), at + 8
    else:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (n_tags,), at = struct.unpack_from(f"{order}H", data, at), at + 2
    entry = struct.Struct(f"{order}HHQ8s" if is_bigtiff else f"{order}HHI4s")
    for number in range(min(n_tags, _MOST_TAGS)):
        tag, kind, count, inline = entry.unpack_from(data, at + number * entry.size)
        letter = _SIZES.get(kind)
        if letter is None or not count:
            continue
        count = min(count, _MOST_VALUES) if count * struct.calcsize(letter) > len(inline) else count
        wanted = struct.Struct(f"{order}{min(count, _MOST_VALUES)}{letter}")
        place = struct.unpack(f"{order}{'Q' if is_bigtiff else 'I'}", inline)[0] if wanted.size > len(inline) else None
        source, start = (inline, 0) if place is None else (data, place)
        if start + wanted.size <= len(source):
            values[tag] = wanted.unpack_from(source, start)
    return TiffTags(is_bigtiff, order == ">", values)
