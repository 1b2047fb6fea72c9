"""Colours of other spaces come out as a person sees them."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms, PngImagePlugin

from ggufvlm.media import load
from tests.support.images import encode, halves

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PRIMARIES = {  # XYZ of red, green and blue, adapted to D50
    "ProPhoto": ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)),
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)),
}
COLORS = [(200, 30, 30), (30, 160, 60), (40, 60, 200), (128, 128, 128), (250, 250, 250), (10, 10, 10)]


def profile(primaries: str) -> bytes:
    """The bytes of an sRGB profile with the primaries of another space."""
    made = bytearray(SRGB)
    places = {}
    for n in range(struct.unpack_from(">I", made, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", made, 132 + 12 * n)
        places[tag] = offset
    for tag, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), PRIMARIES[primaries], strict=True):
        struct.pack_into(">3i", made, places[tag] + 8, *(round(part * 65536) for part in value))
    return bytes(made)


def stripes(mode: str = "RGB") -> PIL.Image.Image:
    pixels = np.repeat(np.array([COLORS], np.uint8), 20, axis=0).repeat(20, axis=1)
    return PIL.Image.fromarray(pixels).convert(mode)


def in_space(image: PIL.Image.Image, data: bytes) -> PIL.Image.Image:
    """The same look in other numbers."""
    wide = ImageCms.ImageCmsProfile(io.BytesIO(data))
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), wide)
    del converted.info["icc_profile"]
    return converted


def worst(data: bytes, expected: PIL.Image.Image) -> int:
    image = load(data)
    seen = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3).astype(int)
    return int(np.abs(seen - np.asarray(expected.convert("RGB")).astype(int)).max())


@pytest.mark.parametrize("space", PRIMARIES)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_wide_space_is_shown_as_it_looks(space: str, format: str) -> None:
    data = profile(space)
    given = in_space(stripes(), data)
    assert worst(encode(given, "PNG"), stripes()) > 10, "without its profile it looks otherwise"
    more = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    assert worst(encode(given, format, icc_profile=data, **more), stripes()) <= (8 if format == "JPEG" else 4)


def test_transparency_and_palettes_have_colours_too() -> None:
    data = profile("Display P3")
    given = in_space(stripes(), data)
    with_alpha = given.convert("RGBA")
    with_alpha.putpixel((0, 0), (0, 0, 0, 0))
    seen = load(encode(with_alpha, "PNG", icc_profile=data))
    assert seen.rgb[:3] == b"\xff\xff\xff"
    assert worst(encode(given.convert("RGBA"), "PNG", icc_profile=data), stripes()) <= 4
    assert worst(encode(given.quantize(16), "PNG", icc_profile=data), stripes()) <= 4


@pytest.mark.parametrize("data", [SRGB, b"", b"no profile", SRGB[:200], profile("ProPhoto")[:-900]])
def test_what_changes_nothing_leaves_the_pixels(data: bytes) -> None:
    image = load(encode(halves(), "PNG", icc_profile=data) if data else encode(halves(), "PNG"))
    assert image.id == load(encode(halves(), "PNG")).id


def png_with_gamma(gamma: float, *, srgb: bool = False, mode: str = "RGB") -> bytes:
    data = encode(stripes(mode), "PNG")
    chunks = struct.pack(">I", round(gamma * 100_000))
    extra = PngImagePlugin.o32(4) + b"gAMA" + chunks
    import zlib

    extra += struct.pack(">I", zlib.crc32(b"gAMA" + chunks))
    if srgb:
        extra += struct.pack(">I", 1) + b"sRGB\0" + struct.pack(">I", zlib.crc32(b"sRGB\0"))
    return data[:33] + extra + data[33:]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_gamma_of_a_png_is_that_of_browsers(mode: str) -> None:
    """Linear light (gamma 1) of level 128 is 188 in sRGB."""
    image = load(png_with_gamma(1.0, mode=mode))
    at = 3 * (3 * 20 + 5)  # within the grey stripe
    assert image.rgb[at : at + 3] == bytes([188] * 3)
    usual = load(encode(stripes(mode), "PNG"))
    assert load(png_with_gamma(0.45455, mode=mode)).id == usual.id
    assert load(png_with_gamma(1.0, srgb=True, mode=mode)).id == usual.id, "sRGB says that nothing is to be done"
    assert load(png_with_gamma(0.0, mode=mode)).id == usual.id
