"""The canvas on which libmtmd puts an image with black bars, for families whose handler leaves the size to it.

The formulas are ``calc_size_preserved_ratio`` and ``resize`` with ``PAD_CEIL`` of ``tools/mtmd/mtmd-image.cpp``, the
bounds those of ``clip.cpp``, as vendored by llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.families.family import CanvasRule
from ggufvlm.grounding.view import View

if TYPE_CHECKING:
    from ggufvlm.gguf.header import GGUFHeader


@dataclass(frozen=True, slots=True)
class Grid:
    """Of a canvas: its sides are multiples of ``step`` pixels, its area lies between two bounds in pixels."""

    step: int
    min_pixels: int
    max_pixels: int


def grid_of(projector: GGUFHeader, rule: CanvasRule | None, budget: tuple[int | None, int | None]) -> Grid | None:
    """How libmtmd sizes the canvas for a projector; ``None`` if it makes no bars.

    Args:
        projector: its header.
        rule: of its family; ``None``: libmtmd makes no bars.
        budget: least and most tokens of an image that libmtmd was told; ``None``: its own.
    """
    patch = projector.integer("clip.vision.patch_size")
    if rule is None or not patch:
        return None
    step = patch * (projector.integer(rule.merge_key) or rule.merge)
    if rule.bounds is None:
        low, high = (projector.integer(f"clip.vision.image_{end}_pixels") or 0 for end in ("min", "max"))
        return Grid(step, low, high)
    least, most = (told or own for told, own in zip(budget, rule.bounds, strict=True))
    return Grid(step, least * step * step, most * step * step)


def canvas_size(width: int, height: int, grid: Grid) -> tuple[int, int]:
    """Sides of the canvas for an image, in pixels.

    Args:
        width, height: of the image, in pixels.
        grid: the canvas' steps and bounds.
    """
    step = grid.step
    w, h = (max(step, _to_steps(side, step, _round)) for side in (width, height))
    if grid.max_pixels > 0 and w * h > grid.max_pixels:
        shrink = _single(math.sqrt(_single(_single(width * height) / grid.max_pixels)))
        w, h = (max(step, _to_steps(_single(side / shrink), step, math.floor)) for side in (width, height))
    elif grid.min_pixels > 0 and w * h < grid.min_pixels:
        grow = _single(math.sqrt(_single(grid.min_pixels / _single(width * height))))
        w, h = (_to_steps(_single(side * grow), step, math.ceil) for side in (width, height))
    return w, h


def letterbox(width: int, height: int, canvas: tuple[int, int], image: tuple[int, int] | None = None) -> View:
    """An image of this size in the middle of the canvas, as large as it can be with its aspect kept.

    Args:
        width, height: of the image as libmtmd gets it, in pixels.
        canvas: sides of the canvas, from :func:`canvas_size`.
        image: its sides before it was brought to ``width`` x ``height``, if it was.
    """
    scale = min(_single(canvas[0] / width), _single(canvas[1] / height))
    shown = [min(math.ceil(_single(side * scale)), limit) for side, limit in zip((width, height), canvas, strict=True)]
    original = image or (width, height)
    return View(
        image_width=original[0],
        image_height=original[1],
        width=canvas[0],
        height=canvas[1],
        left=(canvas[0] - shown[0]) // 2,
        top=(canvas[1] - shown[1]) // 2,
        shown_width=shown[0],
        shown_height=shown[1],
    )


def _to_steps(length: float, step: int, rounding: Callable[[float], int]) -> int:
    return rounding(_single(length / step)) * step


def _round(value: float) -> int:
    return math.floor(value + 0.5)  # halves go up, as with C's round()


def _single(value: float) -> float:
    """In single precision, as the library computes: a whole number of steps is one there, too."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
