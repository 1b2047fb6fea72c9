"""``--example IMAGE=ANSWER``: what stands before the question, and that it is computed once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.media import load
from ggufvlm.vlm.examples import Example
from tests.batch.conftest import draw_scenes
from tests.cli.conftest import SCENE, Run, shown_lines
from tests.support.clips import write_pdf
from tests.support.program import see_program
from tests.support.scenes import Block, Scene

OTHER = Scene("yellow", (Block("green", "bar", (0.2, 0.4, 0.8, 0.75)),))
QUESTION = "What is on the left?"


@pytest.fixture
def shown(folder: Path) -> list[str]:
    """Options with two examples; one name has an equals sign in it."""
    OTHER.draw(140, 140).save(folder / "a=b.png")
    SCENE.draw(140, 150).save(folder / "c.png")
    return ["--example", f"a=b.png={OTHER.caption}", "--example", f"c.png={SCENE.caption}"]


def test_the_dialogue_is_the_same_as_with_turns(run: Run, folder: Path, shown: list[str], demo: VLM) -> None:
    told = json.loads(run("describe", "blocks.png", "Describe this image.", "--json", *shown).stdout)
    messages: list[dict[str, object]] = []
    for name, answer in (("a=b.png", OTHER.caption), ("c.png", SCENE.caption), ("blocks.png", "")):
        content = [{"type": "image", "path": name}, {"type": "text", "text": "Describe this image."}]
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    wanted = demo.stream(messages[:-1]).answer
    assert (told["text"], told["usage"]["n_prompt"]) == (wanted.text, wanted.usage.n_prompt)
    assert [image["source"] for image in told["images"]] == ["blocks.png"], "what was asked about"


def test_examples_are_computed_once_for_all_rows(run: Run, folder: Path, shown: list[str]) -> None:
    draw_scenes(folder / "shots", 3)
    arguments = ["shots", "-p", "Describe this image.", "--no-cache", "--slots", "1", "--ordered"]
    done = run("batch", *arguments, "-o", "out.jsonl", *shown)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    with VLM.load("demo", config=EngineConfig(use_cache=False)) as vlm:
        vlm.examples = (Example(load("a=b.png"), OTHER.caption), Example(load("c.png"), SCENE.caption))
        assert [row["answer"] for row in rows] == [vlm.describe(row["path"]).text for row in rows]
        n_before = vlm.measure([{"role": "user", "content": [{"type": "image", "path": "c.png"}]}])
    n_cached = sorted(row["n_cached"] for row in rows)
    assert n_cached[1] > 70, f"both images and their answers, for all but the row that was asked first: {n_cached}"
    assert n_before.n_images == (25,), "of the question alone"
    assert b"3 there before" in run("batch", *arguments, "-o", "out.jsonl", *shown).stderr
    alone = run("batch", *arguments, "-o", "out.jsonl", "--isolate", *shown[:2], "--restart")
    assert b"3 answered" in alone.stderr, "other examples are another question"


def test_pages_have_less_room_beside_examples(run: Run, folder: Path, shown: list[str]) -> None:
    write_pdf(folder / "paper.pdf", [SCENE.draw(400, 400)] * 3)
    done = run("describe", "paper.pdf", QUESTION, "--json", "-c", "1024", *shown)
    assert done.returncode == 0, done.stderr
    assert {image["source"].split()[0] for image in json.loads(done.stdout)["images"]} == {"paper.pdf"}


def test_classes_by_examples(run: Run, shown: list[str], demo: VLM) -> None:
    labels = ["--labels", "red,green", "--exact", "--json"]
    taught = json.loads(run("classify", "blocks.png", *labels, "--example", "c.png=green", "-p", QUESTION).stdout)
    messages = [
        {
            "role": role,
            "content": [{"type": "image", "path": name}, {"type": "text", "text": QUESTION}] if name else text,
        }
        for role, name, text in (("user", "c.png", ""), ("assistant", "", "green"), ("user", "blocks.png", ""))
    ]
    red, green = (math.exp(score.logprob) for score in demo.score(messages, ["red", "green"]))
    assert taught["probabilities"] == pytest.approx({"red": red / (red + green), "green": green / (red + green)})
    several = run("classify", "blocks.png", *labels, "--multi", "--example", "c.png=green,red")
    assert several.returncode == 0
    wrong = run("classify", "blocks.png", *labels, "--example", "c.png=blue")
    assert wrong.returncode == 2
    assert (
        b"c.png: an example's answer is one of the labels, not 'blue'\nhint: the labels are red, green" in wrong.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--example", "none.png=a cat"], 3, "error: --example: no such image: none.png"),
        (["--example", "blocks.png"], 2, "error: --example blocks.png: no answer"),
        (["--example", "blocks.png= "], 2, "error: --example blocks.png= : no answer"),
    ],
)
def test_what_is_no_example(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    written, done = see_program("describe", "blocks.png", QUESTION, *arguments, folder=folder)
    lines = [line for line in shown_lines(written, 80) if line]
    assert (lines[0], done) == (words, code)
    assert len(lines) <= 2


def test_a_prompt_with_fields_has_no_examples(run: Run) -> None:
    done = run("batch", "blocks.png", "-p", "Is it {stem}?", "-o", "-", "--example", "blocks.png=yes")
    assert done.returncode == 2
    assert b"--example: the prompt has the field {stem}" in done.stderr
