"""A Pillow picture of any mode, upright and as 8-bit RGB."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

_ORIENTATION = 0x0112
_WHITE = (255, 255, 255)


def to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Convert to mode RGB: transparency on white, CMYK through its ICC profile, deep grey scaled to 8 bit.

    Raises whatever Pillow raises for a picture that it cannot convert.
    """
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I;16"):
        return _from_16_bit(picture)
    if picture.mode in ("I", "F"):
        return _from_numbers(picture)
    if picture.mode == "CMYK":
        return _from_cmyk(picture)
    if picture.mode == "LAB":
        return _from_lab(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture.convert("RGB")


def upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Apply the EXIF orientation. Damaged EXIF counts as none: the pixels are still good."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return picture
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    import PIL.Image

    # Pillow has no direct way from premultiplied grey to RGBA.
    straight = picture.convert("LA") if picture.mode == "La" else picture
    rgba = straight.convert("RGBA")
    canvas = PIL.Image.new("RGB", rgba.size, _WHITE)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


def _from_16_bit(picture: PIL.Image.Image) -> PIL.Image.Image:
    # Pillow's own conversion to 8 bit clips at 255, which turns nearly every 16-bit picture white.
    table = [(value * 255 + 32767) // 65535 for value in range(65536)]
    return picture.convert("I").point(table, "L").convert("RGB")


def _from_numbers(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Modes I and F name no white point: take the smallest customary range that holds every value.

    That is 0-1 (only F), 0-255 (not for 16-bit PNM files, which say what they are), 0-65535; values outside of all of
    them are stretched from their own minimum to their maximum.
    """
    numbers = picture.convert("F")
    low, high = _extrema(numbers)
    if picture.format == "PPM" and picture.mode == "I":
        low, high = 0.0, 65535.0
    elif low >= 0:
        customary = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next((top for top in customary if high <= top), high)
    scale = 255.0 / (high - low) if high > low else 0.0
    # The half rounds: Pillow cuts off when it makes whole numbers.
    return numbers.point(lambda value: value * scale + (0.5 - low * scale)).convert("L").convert("RGB")


def _extrema(numbers: PIL.Image.Image) -> tuple[float, float]:
    low, high = (float(value) for value in numbers.getextrema() if isinstance(value, (int, float)))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)


def _from_cmyk(picture: PIL.Image.Image) -> PIL.Image.Image:
    profile = picture.info.get("icc_profile")
    converted = _through_profile(picture, profile) if isinstance(profile, bytes) else None
    return picture.convert("RGB") if converted is None else converted


def _through_profile(picture: PIL.Image.Image, profile: bytes) -> PIL.Image.Image | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "CMYK":
            return None
        return ImageCms.profileToProfile(
            picture,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _from_lab(picture: PIL.Image.Image) -> PIL.Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    return transform.apply(picture)
