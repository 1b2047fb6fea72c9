"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: images at their own resolution, fitted to the projector's grid."""

from __future__ import annotations

import math
from typing import ClassVar

from ggufvlm.errors import ImageError
from ggufvlm.families.base import ChatHandler

MAX_ASPECT = 200
DEFAULT_MAX_TOKENS = 1024
_LIBRARY_MAX_TOKENS = 4096


def smart_resize(width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Sides that are multiples of ``factor``, area within the bounds, aspect kept as well as that allows.

    The formula is ``smart_resize`` of Qwen's ``image_processing_qwen2_vl.py``. Returns (width, height) in pixels.

    Raises:
        ImageError: one side is more than 200 times the other, which the reference refuses too.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"an image of {width}x{height} is too narrow for this model: at most {MAX_ASPECT} to 1",
            hint="crop it, or cut it into pieces",
        )
    w = max(factor, round(width / factor) * factor)
    h = max(factor, round(height / factor) * factor)
    if w * h > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        w = max(factor, math.floor(width / shrink / factor) * factor)
        h = max(factor, math.floor(height / shrink / factor) * factor)
    elif w * h < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        w = math.ceil(width * grow / factor) * factor
        h = math.ceil(height * grow / factor) * factor
    return w, h


class QwenVLHandler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would letterbox with black bars."""

    fallback_template = "chatml"
    default_min_tokens: ClassVar[int] = 4

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        factor = self.facts.patch_size * self.facts.merge_size
        maximum = self.facts.image_max_tokens or max(DEFAULT_MAX_TOKENS, self.facts.image_min_tokens or 0)
        minimum = min(self.facts.image_min_tokens or self.default_min_tokens, maximum)
        pixels = factor * factor
        return smart_resize(width, height, factor=factor, min_pixels=minimum * pixels, max_pixels=maximum * pixels)

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        # wide enough that libmtmd takes our size as it is; a narrow image may lie a little outside the user's bounds
        return 1, max(
            _LIBRARY_MAX_TOKENS, 2 * (self.facts.image_max_tokens or 0), 2 * (self.facts.image_min_tokens or 0)
        )


class Qwen3VLHandler(QwenVLHandler):
    """Small images are made larger: the reference shows none at less than 256 x 256 pixels."""

    default_min_tokens = 64
