"""Detections as a COCO data set (cocodataset.org/#format-data, object detection)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ggufvlm.grounding.classes import Classes
from ggufvlm.grounding.names import file_names

if TYPE_CHECKING:
    from ggufvlm.grounding.detections import Detections


def coco(found: Sequence[Detections], classes: Classes) -> dict[str, Any]:
    """One document for all images. Numbers of images, boxes and categories begin at 1.

    ``bbox`` is left, top, width and height in pixels of the upright image.
    """
    names = file_names([detections.source for detections in found])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, detections) in enumerate(zip(names, found, strict=True), 1):
        images.append({"id": image_id, "file_name": name, "width": detections.width, "height": detections.height})
        for box in detections.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": classes.number(box.label) + 1,
                    "bbox": [round(value, 2) for value in (box.x0, box.y0, box.width, box.height)],
                    "area": round(box.width * box.height, 2),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes.names, 1)]
    return {"info": _info(found), "images": images, "annotations": annotations, "categories": categories}


def _info(found: Sequence[Detections]) -> dict[str, Any]:
    models = dict.fromkeys(detections.answer.model for detections in found)
    return {"description": f"boxes by {', '.join(models)} (ggufvlm)" if models else "ggufvlm", "version": "1.0"}
