"""Models that think before they answer, in a terminal and in pipes: the answer is all that stdout has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.program import run_program
from tests.support.scripted_models import PROJECTOR, write_script

TEMPLATES = Path(__file__).parents[1] / "data" / "templates"
THOUGHT, ANSWER = "I see red, red, red. It may be a square.", "A red square on red."
IMAGE = PROJECTOR.parent / "blocks-1.png"
STYLES = {
    "qwen3_5": ("", "</think>", ("<think>", "</think>"), True),
    "gemma_4": ("\n", "<channel|>", ("<|channel>", "<channel|>"), True),
    "nemotron_nano_v2": ("", "</think>", ("<think>", "</think>"), False),
    "ministral_3_reasoning": ("", "[/THINK]", ("[THINK]", "[/THINK]"), True),
}
"""By template: what stands before and behind a thought, the marks, and whether one has to ask for it."""


def scripted(folder: Path, name: str, answer: str = ANSWER, *, gap: str = "\n\n") -> list[str]:
    before, behind, marks, _ = STYLES[name]
    template = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    added = {"control": marks} if name == "gemma_4" else {"added": marks}
    model = write_script(folder / f"{name}.gguf", before + THOUGHT + behind + gap + answer, template=template, **added)
    return ["-m", str(model), "--mmproj", str(PROJECTOR)]


@dataclass(frozen=True)
class Run:
    stdout: str
    stderr: str
    returncode: int


def run(folder: Path, *arguments: str, given: str = "") -> Run:
    result = run_program(*arguments, folder=folder, given=given.encode())
    return Run(result.stdout.decode(), result.stderr.decode(), result.returncode)


@pytest.mark.parametrize("name", STYLES)
def test_stdout_is_the_answer(name: str, tmp_path: Path) -> None:
    model = scripted(tmp_path, name)
    think = ["--think"] if STYLES[name][3] else []
    result = run(tmp_path, "describe", str(IMAGE), "What is it?", *model, *think)
    assert (result.stdout, result.stderr, result.returncode) == (f"{ANSWER}\n", "", 0)
    shown = run(tmp_path, "describe", str(IMAGE), "What is it?", *model, *think, "--show-thinking")
    assert (shown.stdout, shown.stderr) == (f"{ANSWER}\n", f"{THOUGHT}\n\n")
    found = json.loads(run(tmp_path, "describe", str(IMAGE), "Hm?", *model, *think, "--json").stdout)
    assert (found["text"], found["reasoning"]) == (ANSWER, THOUGHT)
    assert 0 < found["usage"]["n_thoughts"] < found["usage"]["n_generated"]


def test_a_budget_ends_the_thought(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "--think-budget", "4", "--json")
    found = json.loads(result.stdout)
    assert found["text"] == ANSWER
    assert THOUGHT.startswith(found["reasoning"])
    assert found["usage"]["n_thoughts"] == 5


def test_the_limit_is_that_of_the_answer(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "-n", "2", "--json")
    found = json.loads(result.stdout)
    assert found["reasoning"] == THOUGHT
    assert ANSWER.startswith(found["text"])
    assert (found["finish_reason"], found["stop_reason"]) == ("length", "max_tokens")


def test_a_thought_that_fills_the_context_is_no_answer(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "-c", "220")
    assert result.stdout == ""
    assert "warning: no answer: still thinking after" in result.stderr
    assert "--think-budget" in result.stderr


def test_a_shape_holds_for_the_answer_alone(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5", '{"color":"red"}', gap="")
    schema = "color: red or blue"
    result = run(tmp_path, "describe", str(IMAGE), *model, "--think", "--schema", schema, "--json")
    found = json.loads(result.stdout)
    assert (found["value"], found["reasoning"]) == ({"color": "red"}, THOUGHT)


def test_what_a_model_cannot_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, "describe", str(IMAGE), "-m", "demo", "--think")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: this model does not think before it answers\n")
    model = scripted(tmp_path, "nemotron_nano_v2")
    result = run(tmp_path, "describe", str(IMAGE), *model, "--no-think")
    assert result.returncode == 2
    assert "always thinks" in result.stderr


def test_a_chat_goes_on_without_thoughts(tmp_path: Path) -> None:
    model = scripted(tmp_path, "qwen3_5")
    script = "What is it?\n/think on\nAnd now?\n/think show\nOnce more?\n/save chat.json\n"
    result = run(tmp_path, "chat", str(IMAGE), *model, "--no-think", given=script)
    plain, *thoughtful = result.stdout.split("\n\n" + ANSWER)
    assert plain.startswith(THOUGHT)
    saved = json.loads((tmp_path / "chat.json").read_text())
    assert [turn["answer"] for turn in saved["turns"]][1:] == [ANSWER, ANSWER] if "turns" in saved else thoughtful
    assert result.stderr.count(THOUGHT) == 1
