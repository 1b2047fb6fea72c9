"""Answers that are held to a grammar, token by token."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig, EngineError, Question
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.llama.grammar import Matcher
from ggufvlm.llama.model import Model
from tests.support.scenes import COLORS, Scene

SCHEMA = Constraint.from_schema(
    {
        "type": "object",
        "properties": {"color": {"enum": sorted(COLORS)}, "shape": {"enum": ["square", "bar", "column"]}},
        "required": ["color", "shape"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def model(demo: VLM) -> Model:
    with Model.skeleton(Path(demo.files.model)) as model:
        yield model


def follow(matcher: Matcher, model: Model, text: str) -> bool:
    """Whether the text may be said, token by token."""
    for token in model.vocab.tokenize(text, parse_special=False):
        if not matcher.allows(token):
            return False
        matcher.accept(token)
    return True


def test_tokens_are_allowed_or_not(model: Model) -> None:
    grammar = Constraint.regex("[ab]+c").grammar()
    assert follow(matcher := Matcher(grammar, model.vocab), model, "abbac")
    assert matcher.is_complete
    assert matcher.allows(model.vocab.eos_id)
    assert not follow(matcher := Matcher(grammar, model.vocab), model, "abd")
    assert not matcher.allows(model.vocab.eos_id)


def test_the_mask_leaves_exactly_what_is_allowed(model: Model) -> None:
    import numpy as np

    matcher = Matcher(Constraint.choices(["red", "green"]).grammar(), model.vocab)
    logits = np.zeros(model.vocab.size, np.float32)
    matcher.mask(logits)
    left = {token for token in range(model.vocab.size) if logits[token] == 0}
    assert left == {token for token in range(model.vocab.size) if matcher.allows(token)}
    pieces = {model.vocab.piece(token).decode() for token in left}
    assert pieces
    assert all("red".startswith(piece) or "green".startswith(piece) for piece in pieces)


def test_a_model_that_knows_the_answer_gives_it_in_the_shape_asked_for(demo: VLM) -> None:
    from tests.support.scenes import Block

    right = 0
    for color in COLORS:
        scene = Scene("white" if color != "white" else "black", (Block(color, "square", (0.3, 0.2, 0.6, 0.65)),))
        answer = demo.describe(scene.draw(196, 140), "Answer in JSON with the keys color and shape.", constraint=SCHEMA)
        assert answer.finish_reason == "stop"
        assert SCHEMA.tidy(answer.text) == json.dumps(json.loads(answer.text), separators=(",", ":"))
        right += json.loads(answer.text) == {"color": color, "shape": "square"}
    assert right >= 7


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5}, {"temperature": 1.0, "repeat_penalty": 1.5}])
def test_any_question_any_temperature_and_the_shape_holds(demo: VLM, scene: Scene, settings: dict[str, float]) -> None:
    for seed in range(8):
        answer = demo.describe(scene.draw(196, 140), constraint=SCHEMA, seed=seed, **settings)
        told = json.loads(answer.text)
        assert list(told) == ["color", "shape"]
        assert told["color"] in COLORS


def test_a_choice_is_the_models_own_among_what_is_allowed(demo: VLM, scene: Scene) -> None:
    choices = Constraint.choices([f"{color.capitalize()}." for color in COLORS])
    answer = demo.describe(scene.draw(196, 140), "What is the background color?", constraint=choices)
    assert answer.text == f"{scene.background.capitalize()}."


def test_what_the_model_would_say_anyway_is_not_changed(demo: VLM, scene: Scene) -> None:
    image = scene.draw(196, 140)
    free = demo.describe(image)
    held = demo.describe(image, constraint=Constraint.regex(r"[A-Za-z0-9 ,.]+\."))
    assert held.text == free.text == scene.caption


def test_each_of_many_lanes_keeps_its_own_grammar(scene: Scene) -> None:
    patterns = ["[0-9]{3}", "[A-Z]{5}", "(yes|no)!", r"\[[0-9]+\]", "x+y"]
    with VLM.load("demo", config=EngineConfig(n_slots=4)) as vlm:
        questions = [
            Question(
                images=scene.draw(196, 140),
                prompt="Describe this image.",
                settings={"constraint": Constraint.regex(pattern), "temperature": 1.0, "max_tokens": 60},
                tag=pattern,
            )
            for pattern in patterns * 3
        ]
        for result in vlm.map(questions):
            assert result.answer is not None, result.error
            if result.answer.finish_reason == "stop":
                assert re.fullmatch(result.question.tag, result.answer.text)


def test_a_grammar_that_this_vocabulary_cannot_follow_fails_alone(demo: VLM, scene: Scene) -> None:
    lark = Constraint("lark", "start: <|no_such_token|>")
    with pytest.raises(EngineError, match="constraint"):
        demo.describe(scene.draw(196, 140), constraint=lark)
    assert demo.describe(scene.draw(196, 140)).text == scene.caption


def test_logprobs_are_the_models_own_not_those_of_the_grammar(demo: VLM, scene: Scene) -> None:
    answer = demo.describe(scene.draw(196, 140), constraint=Constraint.choices(["zebra"]), logprobs=1)
    assert answer.text == "zebra"
    assert answer.logprobs is not None
    assert sum(token.logprob for token in answer.logprobs) < -10


def test_special_tokens_show_when_asked_for(demo: VLM, scene: Scene) -> None:
    lark = Constraint.lark('start: <|vision_end|> "x" <|image_pad|>')
    image = scene.draw(196, 140)
    assert demo.describe(image, constraint=lark, show_special=True).text == "<|vision_end|>x<|image_pad|>"
    assert demo.describe(image, constraint=lark).text == "x"
