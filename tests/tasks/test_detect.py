"""Boxes of the built-in model against the true ones, and what becomes of the rest of its answers."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from ggufvlm import VLM, ImageError, UsageError
from ggufvlm.config import EngineConfig
from ggufvlm.families.control import ControlText, MarkedText
from ggufvlm.grounding.detections import Detections
from ggufvlm.grounding.families import convention_of, with_enough_tokens
from ggufvlm.grounding.places import Box, Point
from ggufvlm.media import load
from ggufvlm.models.resolve import find_model
from ggufvlm.tasks.detect import Detector, detect, viewer
from ggufvlm.vlm.request import question
from tests.support.scenes import Block, Scene, random_scene
from tests.vlm.test_scenes import odd_size, overlap

SCENE = Scene("white", (Block("blue", "column", (0.1, 0.15, 0.25, 0.9)), Block("red", "square", (0.5, 0.3, 0.8, 0.72))))
NEEDED = 0.6
Image = Pillow.Image | bytes


def overlaps(found: Detections, scene: Scene, width: int, height: int) -> list[float]:
    """Of each block with the box of its name, 0 if there is none; and 0 for each box of a name that is not there."""
    boxes = {box.label: (box.x0, box.y0, box.x1, box.y1) for box in found.boxes}
    true = {block.name: tuple(np.multiply(block.box, (width, height) * 2)) for block in scene.blocks}
    invented = [0.0 for name in boxes if name not in true]
    return [overlap(boxes[name], box) if name in boxes else 0.0 for name, box in true.items()] + invented


def mean_overlap(demo: VLM, shown: Callable[[Pillow.Image, int], Image], growth: int = 1) -> float:
    """Over a hundred scenes."""
    rng = random.Random(11)
    found = []
    for number in range(100):
        width, height = odd_size(rng)
        scene = random_scene(rng, width, height)
        detections = detect(demo, shown(scene.draw(width, height), number))
        assert (detections.width, detections.height) == (growth * width, growth * height)
        found += overlaps(detections, scene, growth * width, growth * height)
    return float(np.mean(found))


def stored(image: Pillow.Image, orientation: int) -> bytes:
    """A file that shows the image when it is turned as its EXIF entry says."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # numbers of Pillow's Transpose that undo each orientation
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    turned = image if orientation == 1 else image.transpose(Pillow.Transpose(back[orientation]))
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    return file.getvalue()


@pytest.mark.slow
def test_boxes_of_a_hundred_scenes_of_many_sizes(demo: VLM) -> None:
    assert mean_overlap(demo, lambda image, _: image) >= NEEDED


@pytest.mark.slow
def test_boxes_of_a_hundred_turned_images(demo: VLM) -> None:
    assert mean_overlap(demo, lambda image, number: stored(image, 1 + number % 8)) >= NEEDED


@pytest.mark.slow
def test_boxes_of_a_hundred_images_three_times_as_large(demo: VLM) -> None:
    def enlarged(image: Pillow.Image, _number: int) -> Pillow.Image:
        return image.resize((3 * image.width, 3 * image.height), Pillow.Resampling.BICUBIC)

    assert mean_overlap(demo, enlarged, growth=3) >= NEEDED


def test_boxes_are_those_of_the_image_as_it_is_shown(demo: VLM) -> None:
    image = SCENE.draw(333, 219)
    upright = detect(demo, image).boxes
    assert len(upright) == 2
    for orientation in range(1, 9):
        assert detect(demo, stored(image, orientation)).boxes == upright


def test_an_enlarged_image_has_enlarged_boxes(demo: VLM) -> None:
    image = SCENE.draw(280, 280)
    small, large = (
        detect(demo, image).boxes,
        detect(demo, image.resize((840, 840), Pillow.Resampling.NEAREST)).boxes,
    )
    assert [box.label for box in small] == [box.label for box in large]
    for one, other in zip(small, large, strict=True):
        assert (
            overlap(*((3 * one.x0, 3 * one.y0, 3 * one.x1, 3 * one.y1), (other.x0, other.y0, other.x1, other.y1))) > 0.8
        )


def test_the_view_is_what_the_projector_got(demo: VLM) -> None:
    found = detect(demo, SCENE.draw(333, 219))
    (seen,) = found.answer.images
    view = viewer(demo)(333, 219)
    assert (view.width, view.height) == (seen.seen_width, seen.seen_height)
    assert (view.image_width, view.image_height) == (333, 219)


def test_everything_with_its_names(demo: VLM) -> None:
    found = detect(demo, SCENE.draw(280, 280))
    assert {box.label for box in found.boxes} == {"blue column", "red square"}
    assert (found.others, found.missing, found.n_dropped, found.n_clipped, found.n_repeated) == ((), (), 0, 0, 0)
    assert '"bbox_2d"' in found.text


def test_what_was_asked_for_and_what_was_not(demo: VLM) -> None:
    found = detect(demo, SCENE.draw(280, 280), ["square", "green bar"])
    assert [box.label for box in found.boxes] == ["square"]
    assert [other.label for other in found.others] == ["blue column"]
    assert found.missing == ("green bar",)
    data = found.to_dict()
    assert (data["missing"], [other["label"] for other in data["others"]]) == (["green bar"], ["blue column"])
    assert data["boxes"][0]["x0"] == round(found.boxes[0].x0, 2)


def told(demo: VLM, answer: str, labels: tuple[str, ...] = (), **options: object) -> Detections:
    """What is made of an answer: the model is made to begin with it, and cut right behind."""
    detector = Detector(demo, labels, **options)  # type: ignore[arg-type]
    image = load(SCENE.draw(200, 100))
    given = demo.describe(image, "What is red?", prefill=answer, max_tokens=1, stop=("\n",))
    cut = type(given)(**{name: getattr(given, name) for name in given.__slots__} | {"text": answer})
    return detector.read(image, [cut])


def test_repeated_clipped_and_lost_marks_are_counted(demo: VLM) -> None:
    answer = (
        '[{"bbox_2d": [0, 0, 500, 500], "label": "cat"}, {"bbox_2d": [0, 0, 500, 500], "label": "cat"}, '
        '{"bbox_2d": [500, 500, 1500, 900], "label": "dog"}, {"bbox_2d": [2000, 0, 3000, 10], "label": "bird"}, '
        '{"bbox_2d": [1, 2], "label": "fish"}]'
    )
    found = told(demo, answer)
    assert found.boxes == (Box("cat", 0, 0, 100, 50), Box("dog", 100, 50, 200, 90))
    assert (found.n_repeated, found.n_clipped, found.n_dropped) == (1, 1, 2)


def test_a_family_that_is_asked_for_one_label_at_a_time(demo: VLM) -> None:
    answer = "<|object_ref_start|>the animal<|object_ref_end|><|box_start|>(0,0),(500,500)<|box_end|>"
    found = told(demo, answer, ("cat",), convention="qwen2_rel1000")
    assert found.boxes == (Box("cat", 0, 0, 100, 50),)


def test_points_where_they_are_asked_for(demo: VLM) -> None:
    answer = '[{"point_2d": [500, 500], "label": "cat"}]'
    assert told(demo, answer, ("cat",), points=True, convention="qwen3_rel1000").points == (Point("cat", 100, 50),)
    unwanted = told(demo, answer, ("cat",), convention="qwen3_rel1000")
    assert (unwanted.points, unwanted.n_dropped, unwanted.missing) == ((), 1, ("cat",))
    with pytest.raises(UsageError, match="no points"):
        detect(demo, SCENE.draw(100, 140), points=True)


@pytest.mark.parametrize(
    ("family", "convention", "least"),
    [
        ("qwen2_vl", "qwen2_rel1000", 1024),
        ("qwen2_5_vl", "qwen25_abs_px", 1024),
        ("qwen3_vl", "qwen3_rel1000", 1024),
        ("internvl", "internvl_box", 1),
        ("gemma3", "gemini_yx1000", 1),
    ],
)
def test_other_families_see_enough_and_are_asked_their_way(
    data: Path, family: str, convention: str, least: int
) -> None:
    """Random weights: what they say means nothing."""
    folder = data / "parity" / family
    files = find_model(str(folder / "model.gguf"), folder / "mmproj.gguf")
    config = with_enough_tokens(EngineConfig(n_slots=2), files, convention_of(files))
    with VLM(files, config) as vlm:
        vlm.wait_until_loaded()
        found = detect(vlm, SCENE.draw(448, 336), ["cat", "red car"], max_tokens=8)
        view = viewer(vlm)(448, 336)
    assert found.convention == convention
    (seen,) = found.answer.images
    assert seen.n_tokens >= least
    assert (view.width, view.height) == (seen.seen_width, seen.seen_height)


def test_every_label_is_a_question_where_the_family_wants_that(demo: VLM) -> None:
    found = detect(demo, SCENE.draw(280, 280), ["cat", "dog"], convention="internvl_box")
    assert len(found.answers) == 2
    assert found.convention == "internvl_box"


def test_control_tokens_of_a_question_are_parsed_and_a_user_s_are_not(demo: VLM) -> None:
    def n_text(*parts: str) -> int:
        return demo.measure(question([load(SCENE.draw(140, 140))], MarkedText(parts))).n_text

    token = "<|vision_start|>"
    plain = n_text("What is ", "red")
    assert n_text("What is ", ControlText(token), "red") <= plain + 2  # itself, and the blank before it
    assert n_text("What is ", token, "red") > plain + 5


def test_many_images_come_in_their_order_with_their_errors(tmp_path: Path) -> None:
    scenes = [random_scene(random.Random(seed), 280, 280) for seed in range(7)]
    for number, scene in enumerate(scenes):
        scene.draw(280, 280).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    paths = [str(tmp_path / f"{number}.png") for number in (*range(7), 9)]
    with VLM.load("demo", config=EngineConfig(n_slots=3, priority="throughput")) as vlm:
        results = list(Detector(vlm).map(paths))
        alone = detect(vlm, paths[6])
    assert [result.index for result in results] == list(range(8))
    assert [number for number, result in enumerate(results) if isinstance(result.error, ImageError)] == [3, 7]
    assert all(result.detections for number, result in enumerate(results) if number not in (3, 7))
    last = results[6].detections
    assert last is not None
    assert (last.boxes, last.source) == (alone.boxes, paths[6])


def test_nothing_is_asked_of_no_images(demo: VLM) -> None:
    assert list(Detector(demo).map([])) == []


def test_bad_arguments(demo: VLM) -> None:
    with pytest.raises(UsageError, match="empty"):
        detect(demo, SCENE.draw(100, 140), [""])
    with pytest.raises(UsageError, match="'unheard-of'"):
        detect(demo, SCENE.draw(100, 140), convention="unheard-of")
    with pytest.raises(ImageError, match=r"none\.png"):
        detect(demo, "none.png")


def test_a_question_of_one_s_own(demo: VLM) -> None:
    found = detect(demo, SCENE.draw(280, 280), ["red square"], prompt="Detect all objects.")
    assert [box.label for box in found.boxes] == ["red square"]
