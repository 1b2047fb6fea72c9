"""TIFF files whose pixels are not square, as fax machines write them, get square ones.

A fax has 204 columns to the inch and 98, 196 or 391 rows (ITU-T T.4): taken pixel by pixel, what is on it is half or
twice as high as it was. TIFF tells both as XResolution and YResolution (TIFF 6.0, section 8), along columns and rows as
they are stored. PNG (``pHYs``) and JPEG (JFIF) can tell them, too; browsers and viewers show these pixel by pixel, and
so do we.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import PIL.Image

_X_RESOLUTION, _Y_RESOLUTION, _ORIENTATION = 282, 283, 274
_ON_ITS_SIDE = (5, 6, 7, 8)
_NOTICED, _CREDIBLE = 1.1, 10  # by which both differ: less is what 204 and 196 make, more is a mistake in the file


def square_size(image: PIL.Image.Image, max_pixels: int) -> tuple[int, int]:
    """Width and height with square pixels of an image that was opened and is not loaded yet; upright if it is a TIFF.

    Args:
        image: as opened from a file of any format; those of other formats than TIFF keep their size.
        max_pixels: the direction of fewer pixels to the inch is stretched, unless that makes more than this: then the
            other one is made shorter.
    """
    width, height = image.size
    ratio = _ratio(getattr(image, "tag_v2", {})) if image.format == "TIFF" else 1.0
    if ratio == 1:
        return width, height
    if (ratio > 1) == (width * height * max(ratio, 1 / ratio) <= max_pixels):
        return width, max(1, round(height * ratio))
    return max(1, round(width / ratio)), height


def _ratio(tags: Mapping[int, Any]) -> float:
    """How much higher than wide a pixel is, upright; 1 for those that are square, or nearly."""
    across, down = (_number(tags.get(tag)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if across is None or down is None or not _NOTICED < max(across / down, down / across) <= _CREDIBLE:
        return 1.0
    return down / across if tags.get(_ORIENTATION) in _ON_ITS_SIDE else across / down


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) and number > 0 else None
