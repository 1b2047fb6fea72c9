"""Detections as labelme reads and writes them (github.com/wkentaro/labelme, ``label_file.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggufvlm.grounding.detections import Detections

_VERSION = "5.5.0"


def labelme(found: Detections, image_path: str) -> dict[str, Any]:
    """The file of one image. ``image_path`` leads from the folder of that file to the image."""
    shapes = [_shape(box.label, "rectangle", [(box.x0, box.y0), (box.x1, box.y1)]) for box in found.boxes]
    shapes += [_shape(point.label, "point", [(point.x, point.y)]) for point in found.points]
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": found.height,
        "imageWidth": found.width,
    }


def _shape(label: str, kind: str, points: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "label": label,
        "points": [[round(x, 2), round(y, 2)] for x, y in points],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
    }
