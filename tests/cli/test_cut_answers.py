"""Answers that end at a limit: which one it was, and what raises it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ggufvlm import VLM
from ggufvlm.server.contract import Done
from ggufvlm.server.ollama.reply import OllamaReply
from ggufvlm.server.openai.answer import choice
from tests.cli.conftest import SCENE, Run, shown_lines
from tests.support.program import see_program


@pytest.fixture
def context(demo: VLM, folder: Path) -> str:
    """A context in which four tokens of the answer find room."""
    return str(demo.describe(folder / "blocks.png", max_tokens=1).usage.n_prompt + 3)


def test_a_full_context_names_its_option(folder: Path, context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    written, code = see_program("describe", "blocks.png", "-c", context, folder=folder)
    answer, warning = (line for line in shown_lines(written, 80) if line)
    assert code == 0
    assert SCENE.caption.startswith(answer)
    assert warning == "warning: the answer was cut after 3 tokens: context full; -c enlarges it"


def test_the_two_limits_in_json(run: Run, context: str) -> None:
    for option, value, reason in (("-c", context, "context"), ("-n", "3", "max_tokens"), ("-n", "99", None)):
        answer = json.loads(run("describe", "blocks.png", option, value, "--json").stdout)
        assert (answer["finish_reason"], answer["stop_reason"]) == ("length" if reason else "stop", reason)
    told = run("describe", "blocks.png", "-n", "3").stderr
    assert told == b"warning: the answer was cut after 3 tokens; -n raises the limit\n"


def test_a_schema_that_did_not_fit_names_the_limit(run: Run, context: str) -> None:
    for option, value in (("-c", context), ("-n", "3")):
        done = run("describe", "blocks.png", "--schema", "colour, n int", option, value)
        assert (done.returncode, done.stdout) == (1, b"")
        assert f"hint: {option}".encode() in done.stderr


def test_a_chat_names_its_own_ways(run: Run) -> None:
    done = run("chat", "blocks.png", "-n", "3", input=b"Describe this image.\n")
    assert b"cut after 3 tokens; /set max_tokens raises the limit\n" in done.stderr


def test_a_batch_counts_them(run: Run, folder: Path, context: str) -> None:
    (folder / "same.png").write_bytes((folder / "blocks.png").read_bytes())
    SCENE.draw(140, 150).save(folder / "other.png")
    done = run("batch", "blocks.png", "same.png", "other.png", "-n", "3", "-o", "out.jsonl")
    assert done.returncode == 0
    assert done.stderr.endswith(b"warning: answers were cut: 3 by the token limit (-n raises it)\n")
    full = run("batch", "blocks.png", "-c", context, "-o", "full.jsonl")
    assert full.stderr.endswith(b"warning: answers were cut: 1 by a full context (-c makes it larger)\n")
    whole = run("batch", "blocks.png", "-o", "whole.jsonl")
    assert b"warning" not in whole.stderr


def test_clients_are_told_which_limit(demo: VLM, folder: Path) -> None:
    answer = demo.describe(folder / "blocks.png", max_tokens=2)
    assert (answer.finish_reason, answer.stop_reason) == ("length", "max_tokens")
    full, whole = replace(answer, stop_reason="context"), replace(answer, finish_reason="stop", stop_reason=None)
    told = [choice("chat", 0, Done(each)) for each in (answer, full, whole)]
    assert [(each["finish_reason"], each.get("stop_reason")) for each in told] == [
        ("length", "max_tokens"),
        ("length", "context"),
        ("stop", None),
    ]
    ollama = [OllamaReply("demo", is_chat=True).end(Done(each)) for each in (full, whole)]
    assert [(each["done_reason"], each.get("stop_reason")) for each in ollama] == [
        ("length", "context"),
        ("stop", None),
    ]
