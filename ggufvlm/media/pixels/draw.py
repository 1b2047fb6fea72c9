"""Boxes, points and their names drawn on an image, legible on any ground and at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.media.image import Image
from ggufvlm.media.pixels.fonts import font_for
from ggufvlm.media.pixels.resize import resize, to_pillow

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from ggufvlm.media.pixels.fonts import Font

Color = tuple[int, int, int]
_Rectangle = tuple[float, float, float, float]

# An image is made larger until its longer side has so many pixels, and its shorter one, if the longer stays below.
_LEAST_LONG, _LEAST_SHORT, _MOST_LONG = 320, 160, 4096
_MOST_GROWTH = 16
_LEAST_LETTERS = 12
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
# Neighbours differ in hue and in lightness. Sixteen; more names than that share them.
_COLORS: tuple[Color, ...] = (
    *((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 90, 220), (245, 130, 48), (145, 30, 180)),
    *((70, 240, 240), (240, 50, 230), (170, 110, 40), (210, 245, 60), (128, 0, 0), (0, 128, 128)),
    *((250, 190, 212), (0, 0, 128), (170, 255, 195), (128, 128, 0)),
)


@dataclass(frozen=True, slots=True)
class Outline:
    """A named rectangle, or a point if both corners are the same; in pixels of the image, from its upper left."""

    name: str
    x0: float
    y0: float
    x1: float
    y1: float


def draw_outlines(image: Image, outlines: Sequence[Outline]) -> Image:
    """The image with rectangles and their names on it, one colour a name.

    Lines and letters grow with the image; small and very narrow images are made larger, by a whole number. Names
    stay inside the image, beside each other as far as there is room. A name that no font of this machine can write
    is drawn as its number among the outlines (``#3``).
    """
    from PIL import ImageDraw

    growth = _growth(image)
    if growth > 1:
        image = resize(image, image.width * growth, image.height * growth, "nearest")
    canvas = to_pillow(image)
    pen = _Pen(ImageDraw.Draw(canvas), image.width, image.height)
    colors = {name: _COLORS[n % len(_COLORS)] for n, name in enumerate(dict.fromkeys(o.name for o in outlines))}
    scaled = [Outline(o.name, *(growth * value for value in (o.x0, o.y0, o.x1, o.y1))) for o in outlines]
    for outline in scaled:
        pen.outline(outline, colors[outline.name])
    for number, outline in enumerate(scaled, 1):
        pen.name(outline, colors[outline.name], number)
    return Image.from_rgb(image.width, image.height, canvas.tobytes(), image.source)


def _growth(image: Image) -> int:
    short, long = sorted((image.width, image.height))
    growth = max(math.ceil(_LEAST_LONG / long), min(math.ceil(_LEAST_SHORT / short), _MOST_LONG // long))
    return min(_MOST_GROWTH, max(1, growth))


class _Pen:
    """Draws on one image; knows where names lie already."""

    def __init__(self, draw: ImageDraw, width: int, height: int) -> None:
        self._draw, self._width, self._height = draw, width, height
        side = math.sqrt(width * height)
        self._line = max(2, round(side / 250))
        self._letters = max(_LEAST_LETTERS, round(side / 38))
        self._taken: list[_Rectangle] = []

    def outline(self, outline: Outline, color: Color) -> None:
        line = self._line
        if (outline.x0, outline.y0) == (outline.x1, outline.y1):
            self._point(outline.x0, outline.y0, color)
            return
        # the last pixel of the rectangle is the one before its right and lower edge
        x0 = min(max(0, math.floor(outline.x0)), self._width - 1)
        y0 = min(max(0, math.floor(outline.y0)), self._height - 1)
        x1 = max(x0, min(self._width, math.ceil(outline.x1)) - 1)
        y1 = max(y0, min(self._height, math.ceil(outline.y1)) - 1)
        rim = max(1, line // 2)
        around = (max(0, x0 - rim), max(0, y0 - rim), min(self._width - 1, x1 + rim), min(self._height - 1, y1 + rim))
        self._draw.rectangle(around, outline=_contrast(color), width=line + 2 * rim)
        self._draw.rectangle((x0, y0, x1, y1), outline=color, width=line)

    def _point(self, x: float, y: float, color: Color) -> None:
        radius = 2.5 * self._line
        self._draw.circle((x, y), radius + self._line, fill=_contrast(color))
        self._draw.circle((x, y), radius, fill=color)

    def name(self, outline: Outline, color: Color, number: int) -> None:
        font, text = self._fitted(outline, number)
        _, top, _, bottom = self._draw.textbbox((0, 0), f"{text}Äg", font=font)
        pad = max(2, self._letters // 6)
        wide, high = self._draw.textlength(text, font=font) + 2 * pad, bottom - top + 2 * pad
        x, y = self._free_place(outline, wide, high)
        self._taken.append((x, y, x + wide, y + high))
        ink = _contrast(color)
        self._draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=color, outline=ink)
        self._draw.text((x + pad, y + pad - top), text, fill=ink, font=font)

    def _fitted(self, outline: Outline, number: int) -> tuple[Font, str]:
        """The name in letters that fit, shortened if the smallest do not; it may be wider than its rectangle."""
        room = min(self._width, max(_LEAST_LONG // 2, 0.4 * self._width, outline.x1 - outline.x0))
        room -= 2 * max(2, self._letters // 6)
        text = " ".join(outline.name.split()) or f"#{number}"
        size = self._letters
        while True:
            found = font_for(text, size) or font_for(f"#{number}", size)
            assert found is not None  # every font has digits
            font, drawn = found
            if self._draw.textlength(drawn, font=font) <= room or len(text) <= 2:
                return font, drawn
            if size > _LEAST_LETTERS:
                size = max(_LEAST_LETTERS, size * 4 // 5)
            else:
                text = text.rstrip("…")[: -max(1, len(text) // 10)].rstrip() + "…"

    def _free_place(self, outline: Outline, wide: float, high: float) -> tuple[float, float]:
        """Above the rectangle, inside it, below it: the first place inside the image that no name has taken."""
        gap = self._line
        is_point = outline.x0 == outline.x1
        lefts = [outline.x0 + 4 * gap * is_point, outline.x1 - wide]
        tops = [outline.y0 - high, outline.y0 + gap, outline.y1, outline.y1 - high - gap]
        places = [
            (self._inside(x, wide, self._width), self._inside(y, high, self._height)) for y in tops for x in lefts
        ]
        return min(places, key=lambda place: self._hidden(place, wide, high))

    def _hidden(self, place: tuple[float, float], wide: float, high: float) -> float:
        """Pixels of names that a name there would hide."""
        x, y = place
        return sum(
            max(0.0, min(x + wide, right) - max(x, left)) * max(0.0, min(y + high, bottom) - max(y, top))
            for left, top, right, bottom in self._taken
        )

    @staticmethod
    def _inside(start: float, length: float, limit: int) -> float:
        return float(round(max(0.0, min(start, limit - length))))


def _contrast(color: Color) -> Color:
    """Black or white, whichever stands out (luminance of ITU-R BT.601)."""
    red, green, blue = color
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT
