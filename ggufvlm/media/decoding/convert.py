"""A Pillow image of any mode, upright and as 8-bit RGB."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from ggufvlm.media.decoding.colors import to_srgb
from ggufvlm.media.decoding.decode_errors import DAMAGE

if TYPE_CHECKING:
    import PIL.Image

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_WHITE, _DARK = (255, 255, 255), (64, 64, 64)
_VISIBLE = 32  # levels of opacity, of 255
_NEARLY_WHITE = 243  # of 255: within 5 %
_NEARLY_ALL = 0.98
ON_DARK = "ggufvlm_on_dark"
"""In ``info`` of a converted image: whether what is transparent became dark."""


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Convert to mode RGB, 8 bit: transparency on white (or dark, see :data:`ON_DARK`), colours through ICC profiles.

    Raises whatever Pillow raises for an image that it cannot convert.
    """
    if image.mode == "CMYK":
        return _from_cmyk(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        return _on_a_ground(image)
    return to_srgb(_opaque(image), image.info)


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        return _from_numbers(image)
    return image.convert("RGB")


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
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
        orientation = image.getexif().get(_ORIENTATION, 1)
    except DAMAGE:
        return image
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _on_a_ground(image: PIL.Image.Image) -> PIL.Image.Image:
    """Transparency on white; on dark grey where white would hide nearly all there is, as of a white logo."""
    import PIL.Image

    # Pillow has no direct way from premultiplied grey to RGBA.
    straight = image.convert("LA") if image.mode == "La" else image
    rgba = straight.convert("RGBA")
    colors, alpha = to_srgb(rgba.convert("RGB"), image.info), rgba.getchannel("A")
    is_hidden = _is_hidden_on_white(colors, alpha)
    canvas = PIL.Image.new("RGB", rgba.size, _DARK if is_hidden else _WHITE)
    canvas.paste(colors, mask=alpha)
    canvas.info[ON_DARK] = is_hidden
    return canvas


def _is_hidden_on_white(colors: PIL.Image.Image, alpha: PIL.Image.Image) -> bool:
    from PIL.ImageChops import darker

    if not sum(alpha.histogram()[:_VISIBLE]):  # nothing is transparent
        return False
    red, green, blue = colors.split()
    levels = darker(darker(red, green), blue).histogram(alpha.point([0] * _VISIBLE + [255] * (256 - _VISIBLE)))
    return sum(levels) > 0 and sum(levels[_NEARLY_WHITE:]) >= _NEARLY_ALL * sum(levels)


def _from_16_bit(image: PIL.Image.Image) -> PIL.Image.Image:
    # Pillow's own conversion to 8 bit clips at 255, which turns nearly every 16-bit image white.
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    top = (1 << bits[0]) - 1 if isinstance(bits, tuple) and bits and bits[0] in range(9, 16) else 65535
    table = [(min(value, top) * 255 + top // 2) // top for value in range(65536)]
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # which Pillow turns around for 8 bits only
        table = [255 - level for level in table]
    return image.convert("I").point(table, "L").convert("RGB")


def _from_numbers(image: PIL.Image.Image) -> PIL.Image.Image:
    """Modes I and F name no white point: take the smallest customary range that holds every value.

    That is 0-1 (only F), 0-255 (not for 16-bit PNM files, which say what they are), 0-65535; values outside of all of
    them are stretched from their own minimum to their maximum.
    """
    numbers = image.convert("F")
    low, high = _extrema(numbers)
    if image.format == "PPM" and image.mode == "I":
        low, high = 0.0, 65535.0
    elif low >= 0:
        customary = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next((top for top in customary if high <= top), high)
    scale = 255.0 / (high - low) if high > low else 0.0
    # The half rounds: Pillow cuts off when it makes whole numbers.
    return numbers.point(lambda value: value * scale + (0.5 - low * scale)).convert("L").convert("RGB")


def _extrema(numbers: PIL.Image.Image) -> tuple[float, float]:
    low, high = (float(value) for value in numbers.getextrema() if isinstance(value, (int, float)))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)


def _from_cmyk(image: PIL.Image.Image) -> PIL.Image.Image:
    profile = image.info.get("icc_profile")
    converted = _through_profile(image, profile) if isinstance(profile, bytes) else None
    return image.convert("RGB") if converted is None else converted


def _through_profile(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "CMYK":
            return None
        return ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _from_lab(image: PIL.Image.Image) -> PIL.Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    return transform.apply(image)
