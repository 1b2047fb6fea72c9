"""Files for other programs say the same as the boxes, when they are read as those programs read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import UsageError
from ggufvlm.grounding.classes import Classes
from ggufvlm.grounding.coco import coco
from ggufvlm.grounding.detections import Detections
from ggufvlm.grounding.labelme import labelme
from ggufvlm.grounding.names import check_stems, file_names, stem
from ggufvlm.grounding.places import Box, Point
from ggufvlm.grounding.yolo import yolo
from ggufvlm.vlm.answer import Answer, AnswerTimes, Usage

ANSWER = Answer(
    text="...",
    finish_reason="stop",
    model="demo",
    images=(),
    usage=Usage(
        n_prompt=1, n_cached=0, n_restored=0, n_images_encoded=1, n_images_recalled=0, n_generated=1, n_ctx=256
    ),
    times=AnswerTimes(load=0, encode=0, prefill=0, decode=0, first_token=None),
    seed=0,
)


def found(source: str, *boxes: Box, size: tuple[int, int] = (200, 100), points: tuple[Point, ...] = ()) -> Detections:
    return Detections(
        source=source,
        width=size[0],
        height=size[1],
        labels=(),
        boxes=boxes,
        points=points,
        others=(),
        n_dropped=0,
        n_clipped=0,
        n_repeated=0,
        convention="qwen3_rel1000",
        answers=(ANSWER,),
    )


def test_coco_is_one_document_for_all_images() -> None:
    images = [found("shots/a.png", Box("cat", 10, 20, 30, 60), Box("dog", 0, 0, 5, 5)), found("shots/b/b.png")]
    document = json.loads(json.dumps(coco(images, Classes(["bird", "dog"]))))
    assert document["images"] == [
        {"id": 1, "file_name": "a.png", "width": 200, "height": 100},
        {"id": 2, "file_name": "b/b.png", "width": 200, "height": 100},
    ]
    assert document["categories"] == [{"id": 1, "name": "bird"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    cat, dog = document["annotations"]
    assert (cat["id"], cat["image_id"], cat["category_id"]) == (1, 1, 3)
    assert (cat["bbox"], cat["area"], cat["iscrowd"]) == ([10, 20, 20, 40], 800, 0)
    assert (dog["id"], dog["category_id"]) == (2, 2)


def test_coco_of_nothing() -> None:
    document = coco([], Classes(["cat"]))
    assert (document["images"], document["annotations"]) == ([], [])
    assert document["categories"] == [{"id": 1, "name": "cat"}]


sizes = st.integers(20, 5000)


@settings(deadline=None)
@given(sizes, sizes, st.data())
def test_yolo_lines_lead_back_to_the_boxes(width: int, height: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    box = Box("cat", x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    number, *numbers = yolo(found("a.png", box, size=(width, height)), Classes(["dog", "cat"])).split()
    x, y, w, h = (float(text) for text in numbers)
    assert number == "1"
    assert all(0 <= value <= 1 for value in (x, y, w, h))
    read = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    assert read == pytest.approx((box.x0, box.y0, box.x1, box.y1), abs=0.02)


def test_an_empty_label_file_is_background() -> None:
    assert yolo(found("a.png"), Classes()) == ""


def test_labelme_has_rectangles_and_points() -> None:
    given_boxes = found("a.png", Box("кошка", 1.234, 2, 3, 4), points=(Point("eye", 5, 6),))
    document = labelme(given_boxes, "../a.png")
    rectangle, point = document["shapes"]
    assert (rectangle["label"], rectangle["shape_type"]) == ("кошка", "rectangle")
    assert rectangle["points"] == [[1.23, 2], [3, 4]]
    assert (point["shape_type"], point["points"]) == ("point", [[5, 6]])
    assert (document["imagePath"], document["imageWidth"], document["imageHeight"]) == ("../a.png", 200, 100)
    assert document["imageData"] is None


def test_names_of_files() -> None:
    assert file_names(["x/a.png", "x/y/b.png", "https://e.org/c.png", "<stdin>"]) == [
        *("a.png", "y/b.png"),
        *("https://e.org/c.png", "<stdin>"),
    ]
    assert file_names(["a.png"]) == ["a.png"]
    assert file_names(["/x/a.png", "b.png"]) == ["/x/a.png", "b.png"]
    assert stem("x/a.b.png", 0) == "a.b"
    assert stem("https://e.org/path/c.png?size=2", 0) == "c"
    assert stem("<stdin>", 2) == stem("-", 2) == stem("data:image/png;base64,AAAA", 2) == "image-3"
    assert stem("https://e.org/", 0) == "image-1"


def test_two_images_for_one_file_are_refused() -> None:
    check_stems(["x/a.png", "x/b.png"], "yolo")
    with pytest.raises(UsageError, match=r"x/a.png and y/A.jpg"):
        check_stems(["x/a.png", "y/A.jpg"], "yolo")
