"""Answers with a shape, in ``describe``, ``batch`` and ``compare``; presets and log-probabilities."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, Run

ASK = ("describe", "blocks.png", "Answer in JSON with the keys color and shape.", "-m", "demo")


SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue", "green"]}, "shape": {"enum": ["square", "bar", "column"]}},
    "required": ["color", "shape"],
    "additionalProperties": False,
}
BLOCKS = [{"color": "blue", "shape": "column"}, {"color": "red", "shape": "square"}]


def test_what_only_a_finished_answer_shows_is_said(run: Run) -> None:
    twice = {"type": "array", "items": {"const": "a"}, "minItems": 2, "maxItems": 2, "uniqueItems": True, "unit": "kg"}
    done = run(*ASK, "--schema", json.dumps(twice))
    assert (done.returncode, done.stdout) == (1, b"")
    assert "breaks the schema at #" in done.stderr.decode()
    once = {**twice, "minItems": 1, "maxItems": 1, "items": {"const": "a", "format": "entity_id", "nullable": False}}
    done = run(*ASK, "--schema", json.dumps(once))
    assert (done.returncode, done.stdout) == (0, b'["a"]\n')


def test_a_schema_in_shorthand_gives_compact_json(run: Run) -> None:
    done = run(*ASK, "--schema", "color, shape")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) in BLOCKS
    assert done.stdout.decode() == json.dumps(json.loads(done.stdout), separators=(",", ":")) + "\n"


def test_a_schema_file_and_the_value_in_the_envelope(run: Run, folder: Path) -> None:
    (folder / "shape.json").write_text(json.dumps(SCHEMA))
    told = json.loads(run(*ASK, "--schema", "shape.json", "--json").stdout)
    assert told["value"] == json.loads(told["text"])
    assert told["value"] in BLOCKS
    assert told["finish_reason"] == "stop"


def test_choices_a_pattern_and_a_grammar(run: Run, folder: Path) -> None:
    where = ("describe", "blocks.png", "What is on the left?", "-m", "demo")
    assert run(*where, "--choices", "The red square.,The blue column.").stdout == b"The blue column.\n"
    assert run(*where, "--regex", "The (red|blue) [a-z]+[.]").stdout == b"The blue column.\n"
    (folder / "left.gbnf").write_text('root ::= "The " color " column."\ncolor ::= "red" | "blue"\n')
    assert run(*where, "--grammar", "left.gbnf").stdout == b"The blue column.\n"
    (folder / "left.lark").write_text('start: "The " ("red" | "blue") " column."\n')
    assert run(*where, "--grammar", "left.lark").stdout == b"The blue column.\n"


def test_an_answer_that_is_cut_is_an_error_and_nothing_is_printed(run: Run) -> None:
    done = run(*ASK, "--schema", "color, shape", "-n", "3")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "-n" in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--schema", "color", "--regex", "a"), 2, "one shape"),
        (("--schema", "color", "--prefill", "{"), 2, "--prefill"),
        (("--regex", "("), 2, "regular expression"),
        (("--grammar", "none.lark"), 3, "none.lark"),
        (("--schema", '{"type": "object", "unevaluatedProperties": false}'), 2, "unevaluatedProperties"),
        (("--logprobs", "2"), 2, "--json"),
        (("--preset", "nonsense"), 2, "no preset 'nonsense'"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run(*ASK, *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()


def test_a_preset_of_ones_own_with_a_shape(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        '[presets.count]\nprompt = "How many blocks are there?"\nchoices = ["1.", "2.", "3."]\nmax_tokens = 20\n'
        '[presets.named]\nprompt = "What is in {stem}?"\n'
    )
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(home))
    done = run("describe", "blocks.png", "-m", "demo", "--preset", "count")
    assert done.stdout == b"2.\n"
    done = run("describe", "blocks.png", "-m", "demo", "--preset", "named")
    assert done.returncode == 2
    assert b"{stem}" in done.stderr


def test_a_built_in_preset_and_ones_own_question(run: Run) -> None:
    done = run("describe", "blocks.png", "What is on the left?", "-m", "demo", "--preset", "caption")
    assert done.stdout == b"The blue column.\n"


def test_logprobs_in_json(run: Run) -> None:
    done = run("describe", "blocks.png", "-m", "demo", "--json", "--logprobs", "2")
    tokens = json.loads(done.stdout)["logprobs"]
    assert "".join(token["token"] for token in tokens) == SCENE.caption
    for token in tokens:
        assert len(token["top"]) == 2
        assert token["top"][0]["logprob"] >= token["top"][1]["logprob"]
        assert math.exp(token["logprob"]) <= 1


def test_a_shape_for_many_images(run: Run, folder: Path) -> None:
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    ask = ("-p", ASK[2], "--schema", "schema.json", "-m", "demo")
    done = run("batch", "blocks.png", *ask, "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert json.loads(row["answer"]) in BLOCKS
    assert row["answer"] == json.dumps(json.loads(row["answer"]), separators=(",", ":"))
    done = run("batch", "blocks.png", *ask, "-n", "3", "-o", "cut.jsonl")
    assert done.returncode == 5
    (row,) = [json.loads(line) for line in (folder / "cut.jsonl").read_text().splitlines()]
    assert row["answer"] is None
    assert "(length)" in row["error"]["text"]


def test_a_shape_for_several_models(run: Run, folder: Path) -> None:
    done = run("compare", "blocks.png", ASK[2], "-m", "demo", "-m", "nonsense", "--schema", "color, shape", "--json")
    assert done.returncode == 0
    answers = json.loads(done.stdout)["answers"]
    assert json.loads(answers[0]["text"]) in BLOCKS
    assert "nonsense" in answers[1]["error"]
