"""Scores of given answers, and log-probabilities of the model's own."""

from __future__ import annotations

import json
import math

import pytest

from ggufvlm import VLM, UsageError
from ggufvlm.media import load
from ggufvlm.vlm.request import question
from tests.support.scenes import Scene


def test_the_models_own_answer_scores_what_its_tokens_did(demo: VLM, scene: Scene) -> None:
    image = load(scene.draw(196, 140))
    answer = demo.describe(image, logprobs=0)
    assert answer.logprobs is not None
    assert b"".join(token.bytes for token in answer.logprobs).decode() == answer.text == scene.caption
    (score,) = demo.score(question([image], "Describe this image."), [scene.caption])
    assert score.n_tokens == len(answer.logprobs) + 1
    said = sum(token.logprob for token in answer.logprobs)
    assert said - 0.1 < score.logprob <= said + 0.01  # what is missing is the end of the answer
    assert score.logprob > -0.5


def test_wrong_answers_score_lower_and_so_do_unfinished_ones(demo: VLM, scene: Scene) -> None:
    messages = question([load(scene.draw(196, 140))], "Describe this image.")
    right, cut, wrong = demo.score(messages, [scene.caption, scene.caption[:-1], "A red cat on a sofa."])
    assert right.logprob > cut.logprob + 3
    assert right.logprob > wrong.logprob + 10


def test_alternatives_are_sorted_and_probabilities(demo: VLM, scene: Scene) -> None:
    answer = demo.describe(scene.draw(196, 140), logprobs=5, temperature=2.0, seed=5, max_tokens=12)
    assert answer.logprobs is not None
    assert len(answer.logprobs) == answer.usage.n_generated == 12
    for token in answer.logprobs:
        logs = [logprob for _, logprob in token.top]
        assert len(logs) == 5
        assert logs == sorted(logs, reverse=True)
        assert token.logprob <= logs[0] <= 0
        assert sum(map(math.exp, logs)) <= 1.0001
    assert any(token.token != token.top[0][0] for token in answer.logprobs), "hot sampling leaves the first choice"


def test_all_probabilities_sum_to_one(demo: VLM, scene: Scene) -> None:
    answer = demo.describe(scene.draw(196, 140), logprobs=100, max_tokens=1)
    assert answer.logprobs is not None
    assert sum(math.exp(logprob) for _, logprob in answer.logprobs[0].top) == pytest.approx(1.0, abs=1e-3)


def test_json_has_logprobs_only_when_asked_for(demo: VLM, scene: Scene) -> None:
    image = scene.draw(196, 140)
    assert "logprobs" not in demo.describe(image, max_tokens=2).to_dict()
    data = json.loads(json.dumps(demo.describe(image, max_tokens=2, logprobs=1).to_dict()))
    first = data["logprobs"][0]
    assert bytes(first["bytes"]).decode() == first["token"] == first["top"][0]["token"] == scene.caption.split()[0]


def test_an_empty_answer_has_no_score(demo: VLM, scene: Scene) -> None:
    with pytest.raises(UsageError, match="must not be empty"):
        demo.score(question([load(scene.draw(196, 140))], "?"), ["a", ""])
