"""Detections as YOLO label files: one line a box, ``class x_center y_center width height``, fractions of the image.

The format of darknet and of Ultralytics (docs.ultralytics.com/datasets/detect).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufvlm.grounding.classes import Classes

if TYPE_CHECKING:
    from ggufvlm.grounding.detections import Detections


def yolo(found: Detections, classes: Classes) -> str:
    """The label file of one image; empty if there is nothing in it, which YOLO takes for background."""
    width, height = found.width, found.height
    lines = [
        f"{classes.number(box.label)} {(box.x0 + box.x1) / 2 / width:.6f} {(box.y0 + box.y1) / 2 / height:.6f} "
        f"{box.width / width:.6f} {box.height / height:.6f}\n"
        for box in found.boxes
    ]
    return "".join(lines)
