"""Boxes and points in an image, and how they come from the numbers that a model writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ggufvlm.families.convention import Convention
from ggufvlm.grounding.view import View, whole

_LEAST_SIDE = 0.5
_TOLERANCE = 1.0
"""Pixels that a box may lie outside the image without a word: rounding to a coarse scale does that."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place as the model wrote it.

    Attributes:
        label: what it is, as the model says.
        numbers: four of a box, two of a point, in the order and on the scale of its convention.
        text: what stands there, if the model read it.
    """

    label: str | None
    numbers: tuple[float, ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright image, from its upper left corner; ``x1`` and ``y1`` are exclusive.

    ``text`` is what stands there, if the model read it.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float
    text: str | None = None

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: hundredths of a pixel."""
        corners = {name: round(getattr(self, name), 2) for name in ("x0", "y0", "x1", "y1")}
        return {"label": self.label, **corners, **({} if self.text is None else {"text": self.text})}


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels of the upright image, from its upper left corner."""

    label: str
    x: float
    y: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: hundredths of a pixel."""
        return {"label": self.label, "x": round(self.x, 2), "y": round(self.y, 2)}


@dataclass(frozen=True, slots=True)
class Placed:
    """A mark in the image, and whether a part of it that lay outside was cut off."""

    place: Box | Point
    was_clipped: bool


def place(mark: Mark, convention: Convention, view: View, label: str) -> Placed | None:
    """Where a mark lies in the image; ``None`` if that is nowhere.

    Args:
        mark: as the model wrote it; corners may be swapped.
        convention: of the model.
        view: what it saw of the image.
        label: what to call it.
    """
    numbers = mark.numbers
    if len(numbers) not in (2, 4) or not all(map(math.isfinite, numbers)):
        return None
    corners = [_to_pixels(numbers[at], numbers[at + 1], convention, view) for at in range(0, len(numbers), 2)]
    width, height = view.image_width, view.image_height
    xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
    is_outside = xs[-1] < -_TOLERANCE or ys[-1] < -_TOLERANCE or xs[0] > width + _TOLERANCE
    if is_outside or ys[0] > height + _TOLERANCE:
        return None
    was_clipped = min(xs[0], ys[0]) < -_TOLERANCE or xs[-1] > width + _TOLERANCE or ys[-1] > height + _TOLERANCE
    x0, x1 = (min(max(x, 0.0), float(width)) for x in (xs[0], xs[-1]))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in (ys[0], ys[-1]))
    if len(corners) == 1:
        return Placed(Point(label, x0, y0), was_clipped)
    if x1 - x0 < _LEAST_SIDE or y1 - y0 < _LEAST_SIDE:
        return None
    return Placed(Box(label, x0, y0, x1, y1, mark.text), was_clipped)


def _to_pixels(first: float, second: float, convention: Convention, view: View) -> tuple[float, float]:
    x, y = (second, first) if convention.y_first else (first, second)
    canvas = canvas_of(convention, view)
    if convention.scale is not None:
        x, y = x / convention.scale * canvas.width, y / convention.scale * canvas.height
    return canvas.to_image(x, y)


def written(x: float, y: float, convention: Convention, view: View) -> tuple[float, float]:
    """The two numbers that a convention has for a point of the image: the inverse of :func:`place`.

    Args:
        x, y: the point, in pixels of the image.
        convention: how numbers are written.
        view: what the model sees of the image.
    """
    canvas = canvas_of(convention, view)
    x, y = canvas.to_canvas(x, y)
    if convention.scale is not None:
        x, y = x / canvas.width * convention.scale, y / canvas.height * convention.scale
    return (y, x) if convention.y_first else (x, y)


def canvas_of(convention: Convention, view: View) -> View:
    """What the numbers of a convention are relative to."""
    return view if convention.frame == "seen" else whole(view.image_width, view.image_height)
