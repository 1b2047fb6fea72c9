"""Sides of an image in whole tokens, within a limit."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from operator import mul

Size = tuple[int, int]
CountTokens = Callable[[int, int], int]
"""Takes columns and rows of an image."""


def kept_within(most: int, image: Size, wanted: Size, *, factor: int, count: CountTokens = mul) -> Size:
    """The size that is wanted if it takes no more than ``most`` tokens, else the largest that does.

    A higher limit never gives fewer tokens.

    Args:
        most: tokens, at least 1.
        image: its width and height, in pixels.
        wanted: what it is to be brought to, in pixels.
        factor: pixels of a token's side.
        count: how many tokens so many columns and rows take.

    Returns:
        Width and height in pixels; if it is not the wanted one, multiples of ``factor``.
    """

    def n_tokens(size: Size) -> int:
        return count(-(-size[0] // factor), -(-size[1] // factor))

    if n_tokens(wanted) <= most:
        return wanted
    rounded = max(factor, round(image[0] / factor) * factor), max(factor, round(image[1] / factor) * factor)
    sizes = [shrunk(*image, factor=factor, most=most, count=count), rounded]
    return max((size for size in sizes if n_tokens(size) <= most), key=n_tokens)


def shrunk(width: int, height: int, *, factor: int, most: int, count: CountTokens = mul) -> Size:
    """The largest sides that take no more than ``most`` tokens, with about the image's aspect.

    Sides are rounded down as in ``smart_resize`` of Qwen's ``image_processing_qwen2_vl.py``. A strip, whose shorter
    side is one token however far it is shrunk, is squeezed besides.

    Args:
        width, height: of the image, in pixels.
        factor: pixels of a token's side.
        most: tokens, at least 1.
        count: how many tokens so many columns and rows take.

    Returns:
        Width and height in pixels, multiples of ``factor``.
    """

    def grid(area: int) -> Size:
        shrink = math.sqrt(width * height / (area * factor * factor))
        columns, rows = (max(1, math.floor(side / shrink / factor)) for side in (width, height))
        return min(columns, max(1, area // rows)), min(rows, max(1, area // columns))

    area = max(1, bisect_right(range(1, most + 1), most, key=lambda area: count(*grid(area))))
    columns, rows = grid(area)
    return columns * factor, rows * factor
