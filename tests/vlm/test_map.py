"""Many questions at a time, with the built-in model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from ggufvlm import VLM, EngineConfig, ImageError, Question, UsageError
from ggufvlm.media import Image, load, loading
from ggufvlm.media.decoding.decode import decode
from tests.support.scenes import random_scene

GREEDY = {"temperature": 0.0, "max_tokens": 60}


@pytest.fixture(scope="module")
def demo4() -> Iterator[VLM]:
    with VLM.load("demo", config=EngineConfig(n_slots=4, priority="throughput")) as vlm:
        yield vlm


def scenes(count: int) -> list[tuple[str, PillowImage.Image]]:
    made = [random_scene(random.Random(seed), 196, 140) for seed in range(count)]
    return [(scene.caption, scene.draw(196, 140)) for scene in made]


def ask(image: object, number: int = 0) -> Question:
    return Question(images=image, prompt="Describe this image.", settings=GREEDY, tag=number)


def test_each_answer_belongs_to_its_image(demo4: VLM) -> None:
    images = scenes(24)
    results = list(demo4.map(ask(image, number) for number, (_, image) in enumerate(images)))
    assert sorted(result.question.tag for result in results) == list(range(24))
    right = [result.answer is not None and result.answer.text == images[result.question.tag][0] for result in results]
    assert sum(right) >= 23, "as many as one by one: this model errs now and then"


def test_together_they_say_what_they_say_one_by_one(demo4: VLM, demo: VLM) -> None:
    images = [image for _, image in scenes(12)]
    together = {r.question.tag: r.answer and r.answer.text for r in demo4.map(map(ask, images, range(12)))}
    assert together == {
        n: demo.describe(image, "Describe this image.", **GREEDY).text for n, image in enumerate(images)
    }


def test_a_bad_image_is_a_result_and_stops_no_other(demo4: VLM) -> None:
    ((caption, image),) = scenes(1)
    questions = [ask(image, 0), ask("no/such/image.png", 1), ask(b"not an image", 2), ask(image, 3)]
    results = {result.question.tag: result for result in demo4.map(questions)}
    assert [results[n].answer.text for n in (0, 3)] == [caption, caption]
    assert all(isinstance(results[n].error, ImageError) for n in (1, 2))
    assert "no/such/image.png" in str(results[1].error)


def test_wrong_settings_are_an_error_of_that_question(demo4: VLM) -> None:
    ((_, image),) = scenes(1)
    (result,) = demo4.map([Question(images=image, prompt="Hi", settings={"temperature": -1.0})])
    assert isinstance(result.error, UsageError)


def test_questions_are_taken_only_as_there_is_room(demo4: VLM) -> None:
    taken = 0
    ((_, image),) = scenes(1)

    def endless() -> Iterator[Question]:
        nonlocal taken
        while True:
            taken += 1
            yield ask(image, taken)

    results = demo4.map(endless())
    for _ in range(5):
        next(results)
    results.close()
    assert taken <= 5 + 2 * 4 + 1
    assert demo4.describe(image, "Describe this image.", **GREEDY).text == scenes(1)[0][0], "and it goes on after that"


@pytest.mark.parametrize("given", ["images", "paths", "both"])
def test_few_decoded_images_are_in_flight(
    demo4: VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path, (_, drawn) in zip(paths, scenes(12), strict=True):
        drawn.save(path)
    monkeypatch.setattr("ggufvlm.vlm.map._MAX_BYTES", 2 * 3 * 196 * 140)
    n_decoded = n_done = most = 0

    def count(image: Image) -> Image:
        nonlocal n_decoded, most
        n_decoded += 1
        most = max(most, n_decoded - n_done)
        return image

    monkeypatch.setattr(loading, "decode", lambda *arguments, **more: count(decode(*arguments, **more)))

    def questions() -> Iterator[Question]:
        for number, path in enumerate(paths):
            is_decoded = given == "images" or (given == "both" and number % 3 == 0)
            yield Question(images=load(path) if is_decoded else path, prompt="Hi", settings={**GREEDY, "max_tokens": 8})

    for result in demo4.map(questions(), n_ahead=8):
        assert result.error is None
        n_done += 1
    assert n_done == n_decoded == 12
    # one is handed out while the next is taken, which the caller of map decoded
    assert most <= (3 if given == "paths" else 4)
