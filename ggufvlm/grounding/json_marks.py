"""Marks in what was read from a JSON answer, under whatever names it has them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ggufvlm.grounding.lenient import CUT, read_values
from ggufvlm.grounding.places import Mark

_LABELS = ("label", "name", "class", "category", "class_name", "object", "object_name", "type", "tag", "caption")
_TEXTS = ("text", "text_content", "content")
_BOXES = ("bbox_2d", "bbox", "box_2d", "box", "bounding_box", "boundingbox", "bbox2d", "bboxes", "boxes", "coordinates")
_POINTS = ("point_2d", "point", "points", "points_2d", "position")
_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_MEMBERS = ("objects", "items", "results", "result", "detections", "annotations", "data", "list", "answer")


def marks_in_value(value: Any, label: str | None = None) -> Iterator[Mark | None]:
    """Marks in a value from :func:`~ggufvlm.grounding.lenient.read_values`; ``None`` for each that cannot be read.

    Args:
        value: an object, or a list of objects, of numbers, or of lists of numbers.
        label: of what has none of its own.
    """
    if isinstance(value, Mapping):
        yield from _in_object(value, label)
    elif isinstance(value, list):
        yield from _in_list(value, label)


def _in_list(values: list[Any], label: str | None) -> Iterator[Mark | None]:
    inner = [value for value in values if isinstance(value, (Mapping, list))]
    words = [value for value in values if isinstance(value, str) and not _numbers([value])]
    if len(words) == 1:
        label = words[0]  # ["cat", [1, 2, 3, 4]] or [1, 2, 3, 4, "cat"]
    for value in inner:
        yield from marks_in_value(value, label)
    numbers = _numbers(values)
    if not inner and len(numbers) >= 2:
        is_plain = len(numbers) + len(words) == len(values)
        yield Mark(label, numbers) if is_plain and len(numbers) in (2, 4) else None


def _in_object(fields: Mapping[str, Any], label: str | None) -> Iterator[Mark | None]:
    by_name = {name.strip().lower().replace(" ", "_"): value for name, value in fields.items()}
    text, own = _first_text(by_name, _TEXTS), _first_text(by_name, _LABELS)
    label, text = own or label or text, text if own else None
    places = [by_name[name] for name in (*_BOXES, *_POINTS) if name in by_name]
    place = places[0] if places else _corners(by_name)
    if place is None and not places:
        yield from _in_members(fields, label)
    elif CUT in fields.values():
        yield None
    else:
        is_box = any(name in by_name for name in _BOXES)
        yield from _in_place(place, label, text, counts=(4,) if is_box else (2, 4))


def _in_place(place: Any, label: str | None, text: str | None, counts: tuple[int, ...]) -> Iterator[Mark | None]:
    if isinstance(place, str):
        place = next(read_values(f"[{place}]"), [])
    if isinstance(place, Mapping):
        place = _corners({name.lower(): value for name, value in place.items()})
    if not isinstance(place, list):
        yield None
        return
    inner = [value for value in place if isinstance(value, (list, Mapping))]
    if 4 in counts and len(inner) == 2 and all(isinstance(v, list) and len(_numbers(v)) == len(v) == 2 for v in inner):
        place, inner = [*inner[0], *inner[1]], []  # two corners
    for value in inner:
        yield from _in_place(value, label, text, counts)
    if place and not inner:
        numbers = _numbers(place)
        yield Mark(label, numbers, text) if len(numbers) == len(place) and len(numbers) in counts else None


def _in_members(fields: Mapping[str, Any], label: str | None) -> Iterator[Mark | None]:
    """Names of an object that are labels, {"cat": [1, 2, 3, 4]}, or a list of objects under some name."""
    for name, value in fields.items():
        is_label = name and name.lower() not in _MEMBERS
        yield from marks_in_value(value, name if is_label else label)


def _corners(fields: Mapping[str, Any]) -> list[Any] | None:
    for names in _CORNERS:
        if all(name in fields for name in names):
            return [fields[name] for name in names]
    if "x" not in fields or "y" not in fields:
        return None
    x, y = fields["x"], fields["y"]
    wide, high = (fields.get(long, fields.get(short)) for long, short in (("width", "w"), ("height", "h")))
    if all(isinstance(value, float) for value in (x, y, wide, high)):
        return [x, y, x + wide, y + high]
    return [x, y]


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    """The numbers among the values, also where they are texts."""
    found = []
    for value in values:
        try:
            found.append(float(value) if isinstance(value, (float, str)) else math.nan)
        except ValueError:
            continue
    return tuple(number for number in found if math.isfinite(number))


def _first_text(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = (fields.get(name) for name in names)
    return next((" ".join(value.split()) for value in found if isinstance(value, str) and value.strip()), None)
