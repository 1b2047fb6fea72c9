"""Several answers at a time: shared cells, right answers, aborts, too little room. With the real llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ggufvlm.engine.engine import Engine
from ggufvlm.engine.sequence import Status
from ggufvlm.engine.task import Output
from tests.support.engines import Known, MakeEngine, add, finish, first_logits, image, know, prompt, run

QUESTIONS = (
    "Describe this image.",
    "What is on the left?",
    "What is on the right?",
    "How many blocks are there?",
    "What color is the background?",
    "What is at the top?",
    "Is there a circle?",
    "What is in the middle?",
)


@pytest.fixture
def alone(engines: MakeEngine) -> list[Known]:
    """Eight questions about one image, each answered alone."""
    engine = engines()
    return [know(engine, prompt((image(1), question))) for question in QUESTIONS]


def run_together(engine: Engine, known: list[Known]) -> None:
    sequences = [add(engine, one.parts) for one in known]
    finish(engine)
    for one, sequence in zip(known, sequences, strict=True):
        one.assert_same(sequence.generated)


@pytest.mark.parametrize("priority", ["latency", "throughput"])
@pytest.mark.parametrize("n_slots", [3, 8])
def test_questions_about_one_image_share_its_cells(
    engines: MakeEngine, alone: list[Known], n_slots: int, priority: str
) -> None:
    engine = engines(n_slots=n_slots, priority=priority)
    sequences = [add(engine, one.parts) for one in alone]
    finish(engine)
    for one, sequence in zip(alone, sequences, strict=True):
        one.assert_same(sequence.generated)
    assert sum(sequence.n_encoded for sequence in sequences) == 1
    assert sum(sequence.n_recalled for sequence in sequences) == 0, "not even prefilled twice"
    assert all(sequence.n_cached > 42 for sequence in sequences[1:])
    n_prompts = sum(sequence.n_prompt + len(sequence.generated) for sequence in sequences[-n_slots:])
    assert engine._cache.n_cells < n_prompts - (n_slots - 1) * 42, "the image takes its cells once"


def test_different_images_share_the_system_prompt(engines: MakeEngine) -> None:
    one_by_one, together = engines(), engines(n_slots=4)
    known = [know(one_by_one, prompt((image(seed), "Describe this image."))) for seed in range(1, 7)]
    run_together(together, known)


def test_new_questions_join_while_others_are_answered(engines: MakeEngine, alone: list[Known]) -> None:
    engine = engines(n_slots=3)
    sequences = []
    for one in alone:
        sequences.append(add(engine, one.parts))
        for _ in range(4):
            engine.step()
            engine.check()
    finish(engine)
    for one, sequence in zip(alone, sequences, strict=True):
        one.assert_same(sequence.generated)


def test_one_that_is_aborted_leaves_the_others_alone(engines: MakeEngine, alone: list[Known]) -> None:
    engine = engines(n_slots=4)
    sequences = [add(engine, one.parts) for one in alone]
    while len(sequences[0].generated) < 2:
        engine.step()
    engine.abort(sequences[1])
    engine.abort(sequences[6])
    finish(engine)
    assert [s.finish_reason for s in sequences].count("abort") == 2
    for at, (one, sequence) in enumerate(zip(alone, sequences, strict=True)):
        if at not in (1, 6):
            one.assert_same(sequence.generated)


def test_an_abort_does_not_stop_the_image_of_another(engines: MakeEngine) -> None:
    engine = engines(n_slots=2)
    first, second = (add(engine, prompt((image(seed), "Describe this image."))) for seed in (1, 2))
    while first.status is not Status.DECODE:
        engine.step()
    engine.on_progress = lambda _progress: engine.abort(first)
    finish(engine)
    assert (first.finish_reason, second.finish_reason) == ("abort", "stop")
    assert second.n_encoded == 1


def test_answers_go_on_while_an_image_is_encoded(engines: MakeEngine) -> None:
    engine = engines(n_slots=2)
    engine._runner.model.vocab.is_end = lambda token: False
    talking = add(engine, prompt(("Describe this image.",)), max_tokens=40, repetition_guard=False)
    while len(talking.generated) < 2:
        engine.step()
    meanwhile: list[Output] = []
    engine.on_outputs = meanwhile.extend
    add(engine, prompt((image(1), "Describe this image.")), max_tokens=2)
    while not meanwhile:
        engine.step()
    assert {output.sequence for output in meanwhile} == {talking}
    assert "".join(output.text for output in meanwhile)
    finish(engine)


def test_too_few_cells_for_all_of_them_cost_time_and_no_answer(engines: MakeEngine, alone: list[Known]) -> None:
    engine = engines(n_slots=8, n_ctx=256)
    run_together(engine, alone)


def test_a_sequence_that_has_to_give_way_says_the_same(engines: MakeEngine) -> None:
    single = engines()
    single._runner.model.vocab.is_end = lambda token: False
    settings = {"max_tokens": 700, "repetition_guard": False}
    known = [know(single, prompt((q,)), **settings) for q in QUESTIONS[:2]]
    engine = engines(n_slots=2, n_ctx=1152)  # room for two answers of the length that is reserved, not of theirs
    engine._runner.model.vocab.is_end = lambda token: False
    sequences = [add(engine, one.parts, **settings) for one in known]
    gave_way = 0
    while not engine.is_idle:
        before = len(engine._scheduler.running)
        outputs = engine.step()
        engine.check()
        gave_way += len(engine._scheduler.running) < before and not any(output.is_last for output in outputs)
    for one, sequence in zip(known, sequences, strict=True):
        one.assert_same(sequence.generated)
        assert len(sequence.generated) == 700
    assert gave_way


@pytest.mark.slow
def test_the_context_grows_under_several_answers(engines: MakeEngine) -> None:
    single, engine = engines(), engines(n_slots=3)
    for each in (single, engine):
        each._runner.model.vocab.is_end = lambda token: False
    settings = {"max_tokens": 700, "repetition_guard": False, "temperature": 0.0}
    known = [know(single, prompt((image(1), q)), **settings) for q in QUESTIONS[:3]]
    sequences = [add(engine, one.parts, **settings) for one in known]
    sizes = set()
    while not engine.is_idle:
        engine.step()
        engine.check()
        sizes.add(engine.n_ctx)
    assert len(sizes) > 1
    for one, sequence in zip(known, sequences, strict=True):
        one.assert_same(sequence.generated)


def test_one_answer_fills_a_context_that_others_shared(engines: MakeEngine) -> None:
    engine = engines(n_slots=2, n_ctx=256)
    engine._runner.model.vocab.is_end = lambda token: False
    sequences = [add(engine, prompt((q,)), max_tokens=-1, repetition_guard=False) for q in QUESTIONS[:2]]
    finish(engine)
    assert [s.finish_reason for s in sequences] == ["length", "length"]
    assert [s.n_prompt + len(s.generated) for s in sequences] == [256, 256]


def test_memory_that_cannot_be_cut_is_shared_where_it_is_whole(engines: MakeEngine, hybrid: Path) -> None:
    single = engines(hybrid)
    known = [know(single, prompt((image(1), question)), max_tokens=8) for question in QUESTIONS[:4]]
    engine = engines(hybrid, n_slots=4)
    sequences = [add(engine, one.parts, max_tokens=8) for one in known]
    finish(engine)
    for one, sequence in zip(known, sequences, strict=True):
        one.assert_same(sequence.generated)
    assert sum(sequence.n_encoded for sequence in sequences) == 1
    assert all(sequence.n_cached > 35 for sequence in sequences[1:]), "all began at the end of the image"


def test_memory_that_cannot_be_cut_goes_back_to_the_end_of_the_image(engines: MakeEngine, hybrid: Path) -> None:
    engine, fresh = engines(hybrid), engines(hybrid)
    run(engine, prompt((image(1), "What is on the left?")), max_tokens=5)
    after = prompt((image(1), "How many blocks are there?"))
    np.testing.assert_allclose(first_logits(engine, after), first_logits(fresh, after), rtol=0, atol=1e-3)
    _, sequence = run(engine, prompt((image(1), "What is on the right?")), max_tokens=5)
    assert sequence.n_cached > 35
