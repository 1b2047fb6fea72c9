"""Reading ahead keeps to its memory, however large the images are, and never waits for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ggufvlm import VLM, Question
from ggufvlm.batch.item import Item
from ggufvlm.batch.run.budget import Budget
from ggufvlm.batch.run.isolate import IsolatedEngine
from ggufvlm.batch.run.prefetch import Looked, look_ahead
from ggufvlm.media import Image, load
from ggufvlm.models.resolve import find_model
from tests.batch.conftest import CONFIG, draw_scenes

SETTINGS = {"temperature": 0.0, "max_tokens": 8}
IMAGE = Image.from_rgb(100, 100, bytes(30_000), "black")


def items(count: int) -> list[Item]:
    return [Item(id=str(number), path=None, sources=()) for number in range(count)]


def test_at_most_so_much_waits_and_two_images_more_in_the_threads() -> None:
    made = 0

    def look(item: Item) -> Looked:
        nonlocal made
        made += 1
        return Looked(item, images=(IMAGE,))

    budget = Budget(limit=90_000)
    looks = look_ahead(items(40), look, 20, budget)
    next(looks)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert budget.held <= 90_000
        assert made <= 1 + 3 + 2
        time.sleep(0.01)
    assert len(list(looks)) == 39
    assert budget.held == 0


def test_a_image_above_the_limit_comes_through_alone() -> None:
    looks = look_ahead(items(5), lambda item: Looked(item, images=(IMAGE,)), 4, Budget(limit=1))
    assert len(list(looks)) == 5


def test_ending_early_lets_the_threads_go() -> None:
    before = threading.active_count()
    looks = look_ahead(items(40), lambda item: Looked(item, images=(IMAGE,)), 20, Budget(limit=30_000))
    next(looks)
    looks.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "a thread waits for ever"
        time.sleep(0.01)


@pytest.mark.parametrize("given", ["images", "paths"])
def test_the_engine_has_few_large_images_in_hand(
    demo4: VLM, folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    draw_scenes(folder / "d", 12)
    size = 3 * 196 * 140
    monkeypatch.setattr("ggufvlm.vlm.map._BYTES_IN_HAND", 2 * size)
    n_taken = n_done = most = 0

    def questions():  # type: ignore[no-untyped-def]
        nonlocal n_taken, most
        for path in sorted((folder / "d").iterdir()):
            n_taken += 1
            most = max(most, n_taken - n_done)
            yield Question(images=load(path) if given == "images" else path, prompt="Hi", settings=SETTINGS)

    for result in demo4.map(questions(), n_ahead=8):
        assert result.error is None
        n_done += 1
    assert n_done == 12
    # one is handed out while the next is taken; of paths, the size is known when they are read
    assert most <= (3 if given == "images" else 3 + 4)


@pytest.mark.slow
def test_a_child_with_large_images_goes_on(folder: Path) -> None:
    """600 MB of images: more than may be in hand at a time."""
    black = bytes(3 * 10_000 * 5_000)
    questions = [
        Question(
            images=[Image(width=10_000, height=5_000, rgb=black, id=f"{n:064}", source=str(n))],
            prompt="Hi",
            settings=SETTINGS,
            tag=n,
        )
        for n in range(4)
    ]
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        results = list(engine.map(questions))
    assert sorted(result.question.tag for result in results) == [0, 1, 2, 3]
