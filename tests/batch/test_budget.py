"""Reading ahead keeps to its memory, however large the images are, and never waits indefinitely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm import VLM, Question
from ggufvlm.batch.run.isolate import IsolatedEngine
from ggufvlm.media import Image, load, loading
from ggufvlm.media.decoding.decode import decode
from ggufvlm.models.resolve import find_model
from tests.batch.conftest import CONFIG, draw_scenes

SETTINGS = {"temperature": 0.0, "max_tokens": 8}


@pytest.mark.parametrize("given", ["images", "paths", "both"])
def test_few_decoded_images_are_in_flight(
    demo4: VLM, folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    paths = sorted(draw_scenes(folder / "d", 12).iterdir())
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
            yield Question(images=load(path) if is_decoded else path, prompt="Hi", settings=SETTINGS)

    for result in demo4.map(questions(), n_ahead=8):
        assert result.error is None
        n_done += 1
    assert n_done == n_decoded == 12
    # one is handed out while the next is taken, which the caller of map decoded
    assert most <= (3 if given == "paths" else 4)


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
