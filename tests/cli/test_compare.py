"""``ggufvlm compare``: the same question to several models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ggufvlm
from tests.cli.conftest import SCENE, Run
from tests.support.clips import write_pdf

WHERE = "What is on the left?"


@pytest.fixture
def other(folder: Path) -> str:
    """A second model: a copy of the built-in one, under a name of its own."""
    demo = Path(ggufvlm.__file__).parent / "demo"
    place = folder / "other"
    place.mkdir()
    (place / "other.gguf").write_bytes((demo / "tiny-qwen2vl-Q8_0.gguf").read_bytes())
    (place / "mmproj-other-F16.gguf").write_bytes((demo / "mmproj-tiny-qwen2vl-F16.gguf").read_bytes())
    return "other/other.gguf"


def test_answers_one_below_the_other_in_a_pipe(run: Run, other: str) -> None:
    done = run("compare", "blocks.png", WHERE, "-m", "demo", "-m", other)
    assert (done.returncode, done.stderr) == (0, b"")
    one, two = done.stdout.decode().split("\n\n")
    for part, name in ((one, "demo"), (two, "other")):
        heading, answer, numbers = part.strip().split("\n")
        assert heading.startswith(f"== {name}")
        assert answer == "The blue column."
        assert "tokens read" in numbers
        assert "4 written" in numbers


def test_json_has_the_times_and_tokens_of_each(run: Run, other: str) -> None:
    done = run("compare", "blocks.png", WHERE, "-m", "demo", "-m", other, "--json")
    told = json.loads(done.stdout)
    assert told["prompt"] == WHERE
    (image,) = told["images"]
    assert (image["source"], image["width"], image["height"]) == ("blocks.png", 140, 140)
    assert [answer["text"] for answer in told["answers"]] == ["The blue column."] * 2
    for answer in told["answers"]:
        assert answer["images"][0]["id"] == image["id"]
        assert answer["usage"]["n_prompt"] > 25
        assert answer["seconds"] > 0
        assert answer["times"]["load"] > 0


def test_a_shape_gives_each_answer_its_value(run: Run) -> None:
    done = run("compare", "blocks.png", WHERE, "-m", "demo", "-m", "none", "--schema", "color", "--json")
    held, failed = json.loads(done.stdout)["answers"]
    assert held["value"] == json.loads(held["text"])
    assert list(held["value"]) == ["color"]
    assert "value" not in failed


def test_a_model_that_fails_is_a_column(run: Run, folder: Path) -> None:
    (folder / "fake.gguf").write_bytes(b"PK\3\4 this is not a model")
    done = run("compare", "blocks.png", WHERE, "-m", "nonsense", "-m", "demo", "-m", "fake.gguf", "--json")
    bad, good, fake = json.loads(done.stdout)["answers"]
    assert done.returncode == 0
    assert good["text"] == "The blue column."
    assert (bad["model"], bad["error"]) == ("nonsense", "unknown model: nonsense")
    assert "fake.gguf" in fake["error"]
    plain = run("compare", "blocks.png", WHERE, "-m", "nonsense", "-m", "demo")
    assert b"== nonsense\nerror: unknown model: nonsense\nhint: " in plain.stdout


def test_when_all_fail_the_code_is_that_of_the_first(run: Run) -> None:
    done = run("compare", "blocks.png", "-m", "nonsense", "-m", "none.gguf")
    assert done.returncode == 4
    assert done.stdout.count(b"error:") == 2
    small = run("compare", "blocks.png", "-m", "demo", "-m", "nonsense", "-c", "32")
    assert small.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["blocks.png"], 2, "two models or more"),
        (["blocks.png", "-m", "demo"], 2, "two models or more"),
        (["foo.png", "-m", "demo", "-m", "demo"], 3, "no such image: foo.png"),
        (["What?", "-m", "demo", "-m", "demo"], 2, "no image given"),
        (["blocks.png", "-m", "demo", "-m", "demo", "--temp", "-1"], 2, "temperature"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], code: int, words: str) -> None:
    done = run("compare", *arguments)
    assert (done.returncode, done.stdout) == (code, b""), "nothing is asked of any model"
    assert words in done.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_what_is_finished(folder: Path, stuck: list[str]) -> None:
    demo = Path(ggufvlm.__file__).parent / "demo" / "mmproj-tiny-qwen2vl-F16.gguf"
    (folder / "mmproj-stuck.gguf").write_bytes(demo.read_bytes())
    arguments = ["blocks.png", WHERE, "-m", "demo", "-m", "stuck.gguf", "-n", "-1", "--no-repetition-guard", "--debug"]
    child = subprocess.Popen(
        [sys.executable, "-m", "ggufvlm", "compare", *arguments],
        cwd=folder,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stderr
    loaded = 0
    while loaded < 2:  # llama.cpp tells of each context it makes
        line = child.stderr.readline()
        assert line, "it ended by itself"
        loaded += b"llama_context: constructing" in line
    child.send_signal(signal.SIGINT)
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"== demo\nThe blue column.\n" in told


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are tested on POSIX")
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_columns_on_a_terminal(folder: Path, other: str, columns: int) -> None:
    from tests.support.terminal import Terminal

    terminal = Terminal(folder, "compare", "blocks.png", "-m", "demo", "-m", other, "-m", "nonsense", columns=columns)
    assert terminal.end() == 0
    lines = [line for line in terminal.lines if line]
    assert max(map(len, lines)) <= columns
    if columns == 40:
        assert [line for line in lines if line in ("demo", other, "nonsense")] == ["demo", other, "nonsense"]
        assert terminal.flat.count(SCENE.caption) == 2
    else:
        assert lines[0].split() == ["demo", other, "nonsense"]
        assert "error: unknown model:" in lines[1]


def test_pages_go_to_each_model(run: Run, other: str, folder: Path) -> None:
    write_pdf(folder / "three.pdf", [SCENE.draw(140, 140), SCENE.draw(84, 84), SCENE.draw(140, 140)])
    asked = ["compare", "three.pdf", "blocks.png", WHERE, "-m", "demo", "-m", other]
    done = run(*asked, "--pages", "1-2", "--json")
    told = json.loads(done.stdout)
    assert [image["source"] for image in told["images"]] == ["three.pdf page 1", "three.pdf page 2", "blocks.png"]
    assert [len(answer["images"]) for answer in told["answers"]] == [3, 3]
    done = run(*asked, "-c", "110")
    assert done.returncode == 0, done.stderr
    assert b"demo:Q8_0: three.pdf: " in done.stderr or b"demo: three.pdf: " in done.stderr
    assert b"other" in done.stderr
    assert run(*asked, "--every", "1s").returncode == 2
