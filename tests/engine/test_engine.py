"""The engine with the real llama.cpp and the built-in model."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from ggufvlm.engine.engine import PromptProgress
from ggufvlm.engine.request import Request, TextPart
from ggufvlm.errors import ContextOverflow, UsageError
from tests.support.engines import GREEDY, MakeEngine, first_logits, image, prompt, run
from tests.support.scenes import random_scene

DIALOGUES = {
    "text": [prompt(("What color is the sky?",)), prompt(("What color is the sea?",))],
    "one image": [
        prompt((image(1), "What is on the left?")),
        prompt((image(1), "How many blocks are there?")),
    ],
    "a second turn": [
        prompt((image(1), "What is on the left?")),
        prompt((image(1), "What is on the left?"), ("The white bar.",), ("How many blocks are there?",)),
    ],
    "two images": [
        prompt((image(1), image(2), "Describe the images.")),
        prompt((image(1), image(2), "What is on the left?")),
    ],
    "the second image changed": [
        prompt((image(1), image(2), "Describe the images.")),
        prompt((image(1), image(3), "Describe the images.")),
    ],
    "an edited last turn": [
        prompt((image(1), "What is on the left?"), ("The red bar.",), ("And on the right?",)),
        prompt((image(1), "What is on the left?"), ("The red bar.",), ("How many are there?",)),
    ],
    "the same again": [
        prompt((image(1), "What is on the left?")),
        prompt((image(1), "What is on the left?")),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_reuse_gives_the_logits_of_a_fresh_context(engines: MakeEngine, name: str) -> None:
    before, after = DIALOGUES[name]
    warm, cold = engines(), engines()
    _, first = run(warm, before)
    reused = first_logits(warm, after)
    fresh = first_logits(cold, after)
    assert first.n_cached == 0
    # measured: no difference at all; other processors may add up in another order
    np.testing.assert_allclose(reused, fresh, rtol=0, atol=1e-3)


def test_a_follow_up_turn_computes_only_what_is_new(engines: MakeEngine) -> None:
    engine = engines()
    answer, first = run(engine, prompt((image(1), "What is on the left?")))
    follow_up = prompt((image(1), "What is on the left?"), (answer,), ("How many blocks are there?",))
    _, second = run(engine, follow_up)
    assert (first.n_encoded, second.n_encoded) == (1, 0)
    assert second.n_cached >= first.n_prompt
    assert second.n_prompt - second.n_cached < 30


def test_another_image_of_the_same_size_is_not_taken_for_the_first(engines: MakeEngine) -> None:
    engine = engines()
    scenes = [random_scene(random.Random(seed), 196, 140) for seed in (1, 2)]
    answers = [run(engine, prompt((image(seed), "Describe this image.")))[0] for seed in (1, 2, 1)]
    assert answers == [scenes[0].caption, scenes[1].caption, scenes[0].caption]


def test_an_image_seen_before_is_not_encoded_again(engines: MakeEngine) -> None:
    engine = engines()
    for seed in (1, 2):
        run(engine, prompt((image(seed), "Describe this image.")))
    _, again = run(engine, prompt((image(1), "Describe this image.")))
    assert again.n_cached < again.n_prompt - 42, "its cells were gone"
    assert again.n_encoded == 0, "its embeddings were not"


def test_the_context_grows_with_the_answer_and_nothing_changes(engines: MakeEngine) -> None:
    request = prompt((image(1), "Describe this image."))
    small, large = engines(), engines(n_ctx=4096)
    settings = {"max_tokens": 900, "temperature": 1.5, "seed": 5, "repetition_guard": False}
    # this model ends its answers soon: let it ramble on
    for engine in (small, large):
        engine._runner.model.vocab.is_end = lambda token: False
    said_small, sequence = run(small, request, **settings)
    said_large, _ = run(large, request, **settings)
    assert len(sequence.generated) == 900
    assert small.n_ctx > 512 + sequence.n_prompt, "it had to grow"
    assert said_small == said_large


def test_an_answer_ends_where_the_context_ends(engines: MakeEngine) -> None:
    engine = engines(n_ctx=256)
    engine._runner.model.vocab.is_end = lambda token: False
    _, sequence = run(engine, prompt(("Hello",)), max_tokens=-1, temperature=2.0, seed=1)
    assert sequence.finish_reason == "length"
    assert sequence.n_prompt + len(sequence.generated) == 256


def test_a_prompt_that_is_too_long_says_what_takes_how_much(engines: MakeEngine) -> None:
    engine = engines(n_ctx=64)
    with pytest.raises(ContextOverflow) as caught:
        engine.add(Request(parts=prompt((image(1), image(2), "Hello")), sampling=GREEDY))
    message = str(caught.value)
    assert "1.png takes 35" in message
    assert "2.png takes 35" in message
    assert "holds 64" in message
    assert "--ctx-size" in (caught.value.hint or "")
    assert engine.is_idle


def test_a_text_that_cannot_fit_is_not_even_counted(engines: MakeEngine) -> None:
    engine = engines(n_ctx=64)
    engine._runner.tokenize = None  # type: ignore[assignment]
    with pytest.raises(ContextOverflow, match="1000000 characters and the context holds 64 tokens"):
        engine.add(Request(parts=(TextPart("a" * 1_000_000),), sampling=GREEDY))


def test_the_prompt_must_end_with_text(engines: MakeEngine) -> None:
    engine = engines()
    with pytest.raises(UsageError, match="after the last image"):
        engine.add(Request(parts=(), sampling=GREEDY))


def test_abort_keeps_what_was_said_and_the_cache_stays_right(engines: MakeEngine) -> None:
    engine = engines()
    parts = prompt((image(1), "Describe this image."))
    whole, _ = run(engines(), parts)
    sequence = engine.add(Request(parts=parts, sampling=GREEDY))
    said = ""
    while len(sequence.generated) < 3:
        said += "".join(output.text for output in engine.step())
    engine.abort(sequence)
    while not engine.is_idle:
        said += "".join(output.text for output in engine.step())
    assert sequence.finish_reason == "abort"
    assert said
    assert whole.startswith(said)
    engine.check()
    assert run(engine, parts)[0] == whole


@pytest.mark.parametrize("stage", ["encode", "prefill"])
def test_abort_before_the_first_word_leaves_the_engine_usable(engines: MakeEngine, stage: str) -> None:
    engine = engines(n_batch=32, n_ubatch=32)
    parts = prompt((image(1), "What is this? " * 100 + "Describe this image."))
    whole, _ = run(engines(), parts)
    sequence = engine.add(Request(parts=parts, sampling=GREEDY))

    def interrupt(progress: PromptProgress) -> None:
        if progress.stage == stage and progress.done > 1:
            engine.abort(sequence)

    engine.on_progress = interrupt
    while not engine.is_idle:
        engine.step()
    engine.on_progress = None
    assert sequence.finish_reason == "abort"
    assert sequence.generated == []
    assert not sequence.is_prefilled
    engine.check()
    assert run(engine, parts)[0] == whole


def test_random_requests_and_aborts_never_change_an_answer(engines: MakeEngine) -> None:
    engine = engines()
    rng = random.Random(5)
    requests = [
        prompt((image(seed), question))
        for seed in (1, 2, 3)
        for question in ("Describe this image.", "What is on the left?")
    ]
    requests.append(prompt((image(1), image(1), "Describe the images.")))
    expected = [run(engines(), parts)[0] for parts in requests]
    for _ in range(40):
        number = rng.randrange(len(requests))
        if rng.random() < 0.3:
            sequence = engine.add(Request(parts=requests[number], sampling=GREEDY))
            for _ in range(rng.randrange(6)):
                engine.step()
            engine.abort(sequence)
            while not engine.is_idle:
                engine.step()
        else:
            assert run(engine, requests[number])[0] == expected[number]
        engine.check()


def test_a_loop_is_cut(engines: MakeEngine) -> None:
    engine = engines()
    engine._runner.sample = lambda sampler, row: 40  # a model that only ever says this
    _, sequence = run(engine, prompt(("Describe this image.",)), max_tokens=400)
    assert sequence.finish_reason == "repetition"
    assert len(sequence.generated) < 150


def test_without_the_guard_a_loop_runs_on(engines: MakeEngine) -> None:
    engine = engines()
    engine._runner.sample = lambda sampler, row: 40
    _, sequence = run(engine, prompt(("Describe this image.",)), max_tokens=400, repetition_guard=False)
    assert (sequence.finish_reason, len(sequence.generated)) == ("length", 400)


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_memory_that_cannot_be_cut_still_gives_the_logits_of_a_fresh_context(
    engines: MakeEngine, hybrid: Path, name: str
) -> None:
    before, after = DIALOGUES[name]
    warm, cold = engines(hybrid), engines(hybrid)
    assert not warm._runner.model.can_cut_memory
    run(warm, before, max_tokens=5)
    np.testing.assert_allclose(first_logits(warm, after), first_logits(cold, after), rtol=0, atol=1e-3)


def test_abort_with_a_memory_that_cannot_be_cut(engines: MakeEngine, hybrid: Path) -> None:
    engine = engines(hybrid)
    before, after = DIALOGUES["one image"]
    sequence = engine.add(Request(parts=before, sampling=GREEDY))
    while len(sequence.generated) < 5:
        engine.step()
    engine.abort(sequence)
    while not engine.is_idle:
        engine.step()
    assert sequence.finish_reason == "abort"
    np.testing.assert_allclose(first_logits(engine, after), first_logits(engines(hybrid), after), rtol=0, atol=1e-3)


def test_an_answer_that_ignores_its_end_is_as_long_as_it_may_be(engines: MakeEngine) -> None:
    asked = prompt((image(1), "What is on the left?"))
    text, ended = run(engines(), asked)
    longer, endless = run(engines(), asked, ignore_eos=True, repetition_guard=False)
    assert (ended.finish_reason, endless.finish_reason) == ("stop", "length")
    assert len(ended.generated) < len(endless.generated) == GREEDY.max_tokens
    assert endless.generated[: len(ended.generated)] == ended.generated
    assert longer.startswith(text.rstrip())


def test_native_calls_are_timed_until_told_otherwise(engines: MakeEngine) -> None:
    """Also those of the larger context that a longer prompt needs."""
    engine = engines()
    calls: list[tuple[float, float]] = []
    engine.time_native_calls(lambda began, ended: calls.append((began, ended)))
    began = time.perf_counter()
    _, first = run(engine, prompt(("What color is the sky?",)))
    n_first, n_cells = len(calls), engine.n_ctx
    assert n_first >= len(first.generated)
    _, second = run(engine, prompt(("sky " * 2 * n_cells,)), max_tokens=5)
    assert engine.n_ctx > n_cells
    assert len(calls) >= n_first + len(second.generated)
    assert all(began <= start <= end <= time.perf_counter() for start, end in calls)
    engine.time_native_calls(None)
    n_calls = len(calls)
    run(engine, prompt(("What color is the sea?",)))
    assert len(calls) == n_calls
