"""Colours as a person sees them: what a file says of its own, by an ICC profile or by PNG's gamma, becomes sRGB."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import PIL.Image

_USUAL_GAMMA = 1 / 2.2
_SAME_GAMMA = 0.05  # libpng's threshold: closer to the usual one nobody sees a difference
_NOTICED = 2  # levels of 255; a profile that changes no colour by more is sRGB under another name
_STEPS = range(0, 256, 15)


def to_srgb(image: PIL.Image.Image, info: Mapping[Any, Any]) -> PIL.Image.Image:
    """The image in sRGB.

    Args:
        image: of mode RGB.
        info: what its file says of itself, as Pillow has it: ``icc_profile`` counts; else, where ``srgb`` does not say
            that nothing is to be done, ``gamma``, as browsers have it.
    """
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        transform = _transform(profile)
        if transform is None:
            return image
        source = image.getchannel(0) if transform.inputMode == "L" else image
        converted: PIL.Image.Image = transform.apply(source)
        return converted
    gamma = info.get("gamma")
    if "srgb" in info or not isinstance(gamma, float) or not 0.05 < gamma < 20:
        return image
    if abs(gamma / _USUAL_GAMMA - 1) <= _SAME_GAMMA:
        return image
    return image.point([_encoded((level / 255) ** (1 / gamma)) for level in range(256)] * 3)


def _encoded(linear: float) -> int:
    """A level of sRGB for a fraction of the full light (IEC 61966-2-1)."""
    value = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * value)


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> Any:
    """Pillow's transform from a profile of RGB or grey to sRGB; ``None`` if it changes nothing, or cannot be read."""
    import PIL.Image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space not in ("RGB", "GRAY"):
            return None
        mode = "RGB" if space == "RGB" else "L"
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        samples = bytes(level for r in _STEPS for g in _STEPS for b in _STEPS for level in (r, g, b))
        colors = PIL.Image.frombytes("RGB", (len(_STEPS) ** 2, len(_STEPS)), samples)
        grey = colors.convert("L")
        before, after = (colors, colors) if mode == "RGB" else (grey.convert("RGB"), grey)
        changed = transform.apply(after).tobytes()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    largest = max(abs(a - b) for a, b in zip(before.tobytes(), changed, strict=True))
    return transform if largest > _NOTICED else None
