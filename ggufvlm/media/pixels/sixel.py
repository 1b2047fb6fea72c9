"""Image -> Sixel, the way of older terminals to draw images (https://vt100.net/docs/vt3xx-gp/chapter14.html)."""

from __future__ import annotations

from itertools import groupby

from ggufvlm.media.image import Image
from ggufvlm.media.pixels.resize import to_pillow

_COLORS = 128
_BAND = 6  # rows that one line of Sixel characters draws


def to_sixel(image: Image) -> str:
    """The escape sequence that draws an image at its own size, in at most 128 colours."""
    import numpy as np

    reduced = to_pillow(image).quantize(_COLORS)
    palette = (reduced.getpalette() or [])[: 3 * _COLORS]
    pixels = np.asarray(reduced)
    drawn = [f'\x1bP0;1q"1;1;{image.width};{image.height}']
    for number, at in enumerate(range(0, len(palette), 3)):
        red, green, blue = (round(100 * value / 255) for value in palette[at : at + 3])
        drawn.append(f"#{number};2;{red};{green};{blue}")
    for top in range(0, image.height, _BAND):
        rows = pixels[top : top + _BAND]
        weights = (1 << np.arange(len(rows)))[:, None]
        for color in np.unique(rows):
            bits = ((rows == color) * weights).sum(axis=0)
            drawn.append(f"#{color}{_packed(bits.tolist())}$")
        drawn.append("-")
    return "".join(drawn) + "\x1b\\"


def _packed(bits: list[int]) -> str:
    """Characters of a line; runs are counted."""
    runs = ((chr(63 + value), sum(1 for _ in run)) for value, run in groupby(bits))
    return "".join(f"!{length}{sign}" if length > 3 else sign * length for sign, length in runs)
