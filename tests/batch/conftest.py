"""Folders of scenes, and runs over them in this process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.identity import Identity, identify, sampling_of
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.run.run import BatchRun, Progress, RowTask
from ggufvlm.models.resolve import find_model
from tests.support.scenes import Scene, random_scene

PROMPT = "Describe this image."
CONFIG = EngineConfig(n_slots=4, priority="throughput")


def scene(number: int) -> Scene:
    return random_scene(random.Random(number), 196, 140)


def draw_scenes(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        scene(number).draw(196, 140).save(folder / f"s{number:03}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def eight(folder: Path) -> Path:
    """A folder with eight scenes."""
    return draw_scenes(folder / "shots", 8)


@pytest.fixture(scope="session")
def demo4() -> Iterator[VLM]:
    with VLM.load("demo", config=CONFIG) as vlm:
        yield vlm


@dataclass
class Runner:
    """Runs a batch with the built-in model, and counts what the model was asked."""

    vlm: VLM
    asked: list[str] = field(default_factory=list)

    def identity(self, **settings: Any) -> Identity:
        files = find_model("demo")
        return identify(files, CONFIG, sampling_of(files, {"max_tokens": 60, **settings}))

    def __call__(
        self,
        items: Inputs | list[Item],
        out: Path = Path("out.jsonl"),
        prompt: str = PROMPT,
        settings: dict[str, Any] | None = None,
        **task: Any,
    ) -> Progress:
        self.asked = []

        def ask(questions: Any) -> Any:
            yield from self.vlm.map(map(self._note, questions))

        with Journal(out) as journal:
            run = BatchRun(
                RowTask(template=parse(prompt), **task), self.identity(**(settings or {})), journal, total=None
            )
            run.go(items, ask)
            journal.put_in_order(None, journal.index.renamed(run.ids))
        return run.progress

    def _note(self, question: Any) -> Any:
        images = question.images
        self.asked.append(images[0].source if isinstance(images, list) else images.first_images[0].source)
        return question


@pytest.fixture
def runner(demo4: VLM) -> Runner:
    return Runner(demo4)
