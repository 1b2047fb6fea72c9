"""What templates tell of thinking: the marks, the switch, and whether the prompt ends inside a thought."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufvlm.errors import UsageError
from ggufvlm.families import Message
from ggufvlm.families.registry import choose_family
from ggufvlm.families.template import SpecialTokens, render
from ggufvlm.families.thinking import THINK_TAGS, Thinking, find_thinking

TEMPLATES = Path(__file__).parents[1] / "data" / "templates"


def source(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def marks(name: str, think: bool | None) -> tuple[bool, bool] | None:
    """Whether the answer begins inside a thought, and whether the opening mark is put there."""
    thinking = find_thinking(source(name), None)
    prompt = render(source(name), [Message("user", ("Hi.",))], SpecialTokens(), told=thinking.variables(think))
    found = thinking.marks(prompt, think, budget=100, are_counted=False)
    return found and (found.is_open, found.opens)


@pytest.mark.parametrize(
    ("name", "think", "begins"),
    [
        ("qwen3_5", None, (False, False)),
        ("qwen3_5", True, (True, False)),
        ("gemma_4", None, (False, False)),
        ("gemma_4", True, (False, True)),
        ("granite_3_3", True, (False, True)),
        ("ministral_3_reasoning", None, (False, False)),
        ("ministral_3_reasoning", True, (False, True)),
        ("nemotron_nano_v2", None, (True, False)),
    ],
)
def test_where_the_answer_begins(name: str, think: bool | None, begins: tuple[bool, bool]) -> None:
    assert marks(name, think) == begins


def test_a_model_that_always_thinks_cannot_be_told_not_to() -> None:
    with pytest.raises(UsageError, match="always thinks"):
        marks("nemotron_nano_v2", False)


def test_a_model_that_is_not_known_to_think_cannot_be_told_to() -> None:
    plain = find_thinking("{% for m in messages %}{{ m.content }}{% endfor %}", None)
    assert plain == Thinking(style=THINK_TAGS, is_known=False)
    with pytest.raises(UsageError, match="does not think"):
        plain.variables(True)


def test_kimi_thinks_though_its_template_does_not_say_so() -> None:
    family = choose_family("kimivl", names=("kimi-vl-a3b-thinking",))
    found = find_thinking("{{ messages }}", family.thinks)
    begun = found.marks([], None, budget=-1, are_counted=False)
    assert begun is not None
    assert (begun.opening, begun.closing, begun.opens) == ("◁think▷", "◁/think▷", True)
    assert choose_family("kimivl", names=("kimi-vl-a3b-instruct",)).thinks is None
