"""Sampling through the engine: what each setting does to real answers."""

from __future__ import annotations

import collections

import pytest

from ggufvlm import VLM, Answer
from tests.support.scenes import Scene


def ask(vlm: VLM, scene: Scene, **settings: object) -> Answer:
    return vlm.describe(scene.draw(196, 140), **settings)  # type: ignore[arg-type]


def test_greedy_answers_are_equal(demo: VLM, scene: Scene) -> None:
    assert ask(demo, scene).text == ask(demo, scene).text == scene.caption


def test_a_seed_gives_the_same_answer_and_another_seed_another(demo: VLM, scene: Scene) -> None:
    hot = [ask(demo, scene, temperature=3.0, seed=seed, max_tokens=30).text for seed in (1, 1, 2, 3, 4)]
    assert hot[0] == hot[1]
    assert len(set(hot)) > 2


def test_without_a_seed_each_answer_has_its_own_and_names_it(demo: VLM, scene: Scene) -> None:
    answers = [ask(demo, scene, temperature=3.0, max_tokens=30) for _ in range(3)]
    assert len({answer.seed for answer in answers}) == 3
    again = ask(demo, scene, temperature=3.0, max_tokens=30, seed=answers[0].seed)
    assert again.text == answers[0].text


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"top_p": 0.0}, {"min_p": 1.0}])
def test_narrow_choice_is_greedy_at_any_temperature(demo: VLM, scene: Scene, narrow: dict[str, float]) -> None:
    assert ask(demo, scene, temperature=5.0, seed=1, **narrow).text == scene.caption


def test_a_heavy_repeat_penalty_shows(demo: VLM, scene: Scene) -> None:
    plain = ask(demo, scene, temperature=0.0, max_tokens=20)
    penalized = ask(demo, scene, temperature=0.0, repeat_penalty=5.0, presence_penalty=5.0, max_tokens=20)
    assert plain.text != penalized.text
    words = collections.Counter(penalized.text.split())
    assert max(words.values()) <= max(collections.Counter(plain.text.split()).values())


def test_max_tokens_cuts_and_says_so(demo: VLM, scene: Scene) -> None:
    answer = ask(demo, scene, max_tokens=3)
    assert (answer.finish_reason, answer.usage.n_generated) == ("length", 3)
    assert scene.caption.startswith(answer.text)


def test_a_stop_string_cuts_and_is_not_shown(demo: VLM, scene: Scene) -> None:
    answer = ask(demo, scene, stop=(" on a", " on an"))
    assert answer.finish_reason == "stop"
    assert answer.text == scene.caption.split(" on a")[0]
