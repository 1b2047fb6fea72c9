"""The engine in a process of its own: it may crash, the run goes on."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ggufvlm import EngineConfig, EngineError, ModelError, Question, SamplingParams
from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.templates import parse
from ggufvlm.batch.run.isolate import IsolatedEngine
from ggufvlm.batch.run.run import Ask, RowTask
from ggufvlm.batch.run.session import EngineSettings, OutputSettings, Session, load_engine
from ggufvlm.media import Image, load
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.map import QuestionResult
from tests.batch.conftest import CONFIG, draw_scenes, scene

GREEDY = {"temperature": 0.0, "max_tokens": 60}


class Killer(str):
    """A prompt that ends the process which it is sent to, as a failed assertion of llama.cpp would."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.abort, ()


def questions(folder: Path, count: int) -> list[Question]:
    draw_scenes(folder / "shots", count)
    return [
        Question(
            images=[load(folder / "shots" / f"s{n:03}.png")], prompt="Describe this image.", settings=GREEDY, tag=n
        )
        for n in range(count)
    ]


def told(results: list[QuestionResult]) -> list[bool]:
    by_number = {result.question.tag: result.answer for result in results}
    assert sorted(by_number) == list(range(len(results)))
    return [(answer.text if answer else None) == scene(n).caption for n, answer in sorted(by_number.items())]


def test_it_answers_as_in_one_process(folder: Path) -> None:
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        assert sum(told(list(engine.map(questions(folder, 12))))) >= 11
        again = list(engine.map(questions(folder, 2)))
        assert (len(again), engine.n_restarts) == (2, 0)


@pytest.mark.parametrize("how", [getattr(signal, "SIGKILL", signal.SIGTERM), signal.SIGABRT])
def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(folder: Path, how: signal.Signals) -> None:
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        results = []
        for result in engine.map(questions(folder, 16)):
            results.append(result)
            if len(results) == 4:
                assert engine.pid is not None
                os.kill(engine.pid, how)
        assert all(result.error is None for result in results)
        assert (len(told(results)), engine.n_restarts) == (16, 1)


@pytest.mark.slow
def test_an_image_that_kills_twice_is_marked_and_the_others_are_answered(folder: Path) -> None:
    asked = questions(folder, 10)
    asked[5] = replace(asked[5], prompt=Killer("boom"))
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        results = {result.question.tag: result for result in engine.map(asked)}
    assert sorted(results) == list(range(10))
    assert [n for n, result in results.items() if result.error] == [5]
    assert str(results[5].error).startswith("it ended the engine's process twice: ")


def test_an_image_that_kills_the_engine_becomes_a_row_with_an_error(eight: Path) -> None:
    engine = EngineSettings(
        files=find_model("demo"), config=CONFIG, sampling=SamplingParams(temperature=0, max_tokens=60), isolate=True
    )

    def load(stack: ExitStack) -> Ask:
        ask = load_engine(engine, None, stack)
        return lambda questions: ask(
            replace(question, prompt=Killer("boom")) if "s003" in question.prompt else question
            for question in questions
        )

    task, output = RowTask(template=parse("What is in {stem}?")), OutputSettings(path=Path("out.jsonl"))
    with Session(Inputs([str(eight)]), task, engine, output) as session:
        session.run(lambda _progress: None, load)
        assert session.n_failed == 1
    rows = [json.loads(line) for line in output.path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8
    failed = [row for row in rows if row["error"]]
    assert [(Path(row["id"]).name, row["error"]["class"]) for row in failed] == [("s003.png", "EngineCrash")]


@pytest.mark.slow
def test_an_engine_that_always_dies_ends_the_run(folder: Path) -> None:
    with IsolatedEngine(find_model("demo"), EngineConfig(n_slots=1)) as engine:
        engine.start()
        with pytest.raises(EngineError, match="every image"):
            list(engine.map(replace(question, prompt=Killer("boom")) for question in questions(folder, 6)))


def test_errors_of_questions_keep_their_class_and_hint(folder: Path) -> None:
    with IsolatedEngine(find_model("demo"), EngineConfig(n_ctx=64)) as engine:
        engine.start()
        image = Image.from_rgb(4, 4, bytes(48), "dot")
        (result,) = engine.map([Question(images=[image], prompt="word " * 500, settings=GREEDY, tag=0)])
    assert type(result.error).__name__ == "ContextOverflow"


def test_a_model_that_cannot_be_loaded(folder: Path) -> None:
    files = find_model("demo")
    (folder / "cut.gguf").write_bytes(files.model.read_bytes()[:100_000])
    broken = ModelFiles(name="cut", model=folder / "cut.gguf", mmproj=files.mmproj)
    with IsolatedEngine(broken, CONFIG) as engine, pytest.raises(ModelError, match="cut"):
        engine.start()


@pytest.mark.slow
def test_a_child_with_large_images_goes_on(folder: Path) -> None:
    """600 MB of images: more than may be in hand at a time."""
    black = bytes(3 * 10_000 * 5_000)
    questions = [
        Question(
            images=[Image(width=10_000, height=5_000, rgb=black, id=f"{n:064}", source=str(n))],
            prompt="Hi",
            settings={**GREEDY, "max_tokens": 8},
            tag=n,
        )
        for n in range(4)
    ]
    with IsolatedEngine(find_model("demo"), CONFIG) as engine:
        engine.start()
        results = list(engine.map(questions))
    assert sorted(result.question.tag for result in results) == [0, 1, 2, 3]
