"""Classes by the model's own probabilities, on scenes whose truth is known."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm import VLM, EngineConfig, UsageError
from ggufvlm.media import load
from ggufvlm.tasks.classify import ClassifyParams, classify, forms, softmax
from tests.support.scenes import COLORS, Scene, random_scene

SIZES = [(196, 140), (130, 100), (300, 400), (640, 480), (1200, 800), (100, 130)]
NAMES = tuple(COLORS)


@pytest.fixture(scope="module")
def lanes() -> Iterator[VLM]:
    """The built-in model with a lane for each answer."""
    with VLM.load("demo", config=EngineConfig(n_slots=16, priority="throughput")) as vlm:
        yield vlm


def single_block(rng: random.Random) -> tuple[Scene, tuple[int, int]]:
    while True:
        size = rng.choice(SIZES)
        scene = random_scene(rng, *size)
        if len(scene.blocks) == 1:
            return scene, size


@pytest.mark.slow
def test_the_right_colour_on_100_scenes(lanes: VLM) -> None:
    rng, right = random.Random(1), 0
    for _ in range(100):
        scene, size = single_block(rng)
        params = ClassifyParams(labels=NAMES, prompt=f"What color is the {scene.blocks[0].kind}?")
        found = classify(lanes, load(scene.draw(*size)), params)
        assert math.isclose(sum(item.probability for item in found.classes), 1.0)
        assert [item.probability for item in found.classes] == sorted(
            (item.probability for item in found.classes), reverse=True
        )
        assert found.coverage > 0.9
        right += found.best.label == scene.blocks[0].color
    assert right >= 95


def test_a_file_and_labels_are_enough(lanes: VLM, tmp_path: Path) -> None:
    scene, size = single_block(random.Random(3))
    scene.draw(*size).save(tmp_path / "a.png")
    found = classify(lanes, tmp_path / "a.png", NAMES)
    same = classify(lanes, load(tmp_path / "a.png"), ClassifyParams(labels=NAMES))
    assert [item.label for item in found.classes] == [item.label for item in same.classes]
    assert found.best.probability == pytest.approx(same.best.probability, abs=0.01)
    assert found.source.endswith("a.png")
    with pytest.raises(UsageError, match="2 labels or more"):
        classify(lanes, tmp_path / "a.png", ["one"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"per_token": True}, {"calibrate": True}])
def test_other_scales_find_the_same_colours(lanes: VLM, how: dict[str, bool]) -> None:
    rng, right = random.Random(2), 0
    for _ in range(20):
        scene, size = single_block(rng)
        params = ClassifyParams(labels=NAMES, prompt=f"What color is the {scene.blocks[0].kind}?", **how)
        right += classify(lanes, load(scene.draw(*size)), params).best.label == scene.blocks[0].color
    assert right >= 19


@pytest.mark.slow
def test_several_classes_at_once(lanes: VLM) -> None:
    rng, right = random.Random(3), 0
    params = ClassifyParams(labels=NAMES, multi=True, prompt="Is there a {label} block?")
    for _ in range(20):
        scene = random_scene(rng, 196, 140)
        found = classify(lanes, load(scene.draw(196, 140)), params)
        holds = {item.label for item in found.classes if item.probability > 0.5}
        right += holds == {block.color for block in scene.blocks}
    assert right >= 18


def test_lanes_do_not_change_the_probabilities(lanes: VLM, demo: VLM, scene: Scene) -> None:
    params = ClassifyParams(labels=NAMES, prompt="What is the background color?")
    image = load(scene.draw(196, 140))
    many, one = classify(lanes, image, params), classify(demo, image, params)
    assert many.best.label == one.best.label == scene.background
    assert many.best.probability == pytest.approx(one.best.probability, abs=0.02)


def test_a_question_that_does_not_suit_the_labels_shows_in_the_coverage(lanes: VLM, scene: Scene) -> None:
    params = ClassifyParams(labels=("cat", "dog"), prompt="What is the background color?")
    assert classify(lanes, load(scene.draw(196, 140)), params).coverage < 0.01


def test_only_exact_spelling_when_asked_for(lanes: VLM, scene: Scene) -> None:
    image = load(scene.draw(196, 140))
    prompt = "What is the background color?"  # the model says "Orange."
    spelled = tuple(f"{name.capitalize()}." for name in NAMES)
    assert classify(lanes, image, ClassifyParams(labels=spelled, prompt=prompt, exact=True)).coverage > 0.9
    assert classify(lanes, image, ClassifyParams(labels=NAMES, prompt=prompt, exact=True)).coverage < 0.1


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (("a",), {}, "2 labels or more"),
        ((), {"multi": True}, "1 labels or more"),
        (("a", " "), {}, "must not be empty"),
        (("a", "b", "a"), {}, "'a' is given twice"),
        (("a", "b"), {"multi": True, "prompt": "Is it?"}, "has to name the label"),
    ],
)
def test_settings_that_make_no_sense(labels: tuple[str, ...], more: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClassifyParams(labels=labels, **more)  # type: ignore[arg-type]


def test_the_forms_of_a_label() -> None:
    assert forms("red", exact=False) == ("red", "red.", "Red", "Red.")
    assert forms("Really?", exact=False) == ("Really?",)
    assert forms("red", exact=True) == ("red",)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_softmax_is_a_distribution_in_the_order_of_the_logs(logs: list[float]) -> None:
    shares = softmax(logs)
    assert math.isclose(sum(shares), 1.0)
    assert shares[logs.index(max(logs))] == max(shares)
