"""A question that is piped in, ``@-``, and what is no question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.conftest import draw_scenes
from tests.cli.conftest import Run, shown_lines
from tests.support.program import see_program

QUESTION, ANSWER = b"What is on the left?\n", b"The blue column.\n"


def test_a_pipe_is_the_question_and_that_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    written, code = see_program("describe", "blocks.png", folder=folder, given=QUESTION)
    lines = [line for line in shown_lines(written, 80) if line]
    assert (lines, code) == (['note: the question comes from stdin: "What is on the left?"', "The blue column."], 0)


@pytest.mark.parametrize("arguments", [["blocks.png", "-p", "@-"], ["blocks.png", "@-"], ["blocks.png", "-q"]])
def test_ways_to_pipe(run: Run, arguments: list[str]) -> None:
    done = run("describe", *arguments, input=QUESTION)
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, b"")


def test_a_file_is_the_question_too(folder: Path) -> None:
    (folder / "question.txt").write_bytes(QUESTION)
    with (folder / "question.txt").open("rb") as file:
        command = [sys.executable, "-m", "ggufvlm", "describe", "blocks.png", "-m", "demo"]
        done = subprocess.run(command, cwd=folder, stdin=file, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, ANSWER)


@pytest.mark.parametrize(
    "arguments", [["What is on the right?"], ["-p", "What is on the right?"], ["--preset", "caption"]]
)
def test_a_question_that_is_given_leaves_stdin_alone(run: Run, arguments: list[str]) -> None:
    done = run("describe", "blocks.png", *arguments, input=QUESTION)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout != ANSWER


NO_QUESTION = {
    "the list of a loop": (
        b"a b.png\nshots\n\n./shots/s000.png\n",
        2,
        'stdin is a list of files and no question: "a b.png"',
    ),
    "what find writes": (b"./gone.jpg\n", 2, "list of files"),
    "the rest of a script": (b"\nGGUFVLM_MODEL=demo ggufvlm describe b.png\n", 2, "script"),
    "an image": (b"\x89PNG\r\n\x1a\n\xff", 3, "stdin: not UTF-8 text"),
}


@pytest.mark.parametrize("name", NO_QUESTION)
def test_what_is_no_question_is_not_asked(run: Run, folder: Path, name: str) -> None:
    draw_scenes(folder / "shots", 1)
    (folder / "a b.png").write_bytes((folder / "blocks.png").read_bytes())
    given, code, words = NO_QUESTION[name]
    done = run("describe", "blocks.png", input=given)
    assert (done.returncode, done.stdout) == (code, b"")
    said = done.stderr.decode().splitlines()
    assert len(said) == 2
    assert said[0].startswith("error: stdin")
    assert words in said[0]
    assert "</dev/null" in said[1] or "ggufvlm describe -" in said[1]


@pytest.mark.parametrize(
    "arguments",
    [["describe", "-", "-p", "@-"], ["describe", "blocks.png", "-p", "@-", "-s", "@-"], ["batch", "-", "-p", "@-"]],
)
def test_stdin_is_read_once(run: Run, arguments: list[str]) -> None:
    done = run(*arguments, input=QUESTION)
    assert done.returncode == 2
    assert b"stdin can be read once" in done.stderr


def test_who_waits_says_for_what(folder: Path) -> None:
    read, write = os.pipe()
    program = (
        "import sys\nfrom ggufvlm.cli.main import program\nfrom ggufvlm.cli.options import stdin_text\n"
        "stdin_text.PATIENCE = 0.0\nsys.argv = ['ggufvlm', 'describe', 'blocks.png', '-m', 'demo']\nprogram()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=folder, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(read)
        assert process.stderr is not None
        assert process.stderr.readline() == b"waiting for the question on stdin (no question? </dev/null)\n"
        os.write(write, QUESTION)
        os.close(write)
        assert process.communicate(timeout=60)[0] == ANSWER


def test_rows_on_stdout(run: Run, folder: Path) -> None:
    draw_scenes(folder / "shots", 3)
    done = run("batch", "shots", "-p", "Describe this image.", "-o", "-", "--ordered")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [row["id"] for row in rows] == [f"shots/s00{n}.png" for n in range(3)]
    assert all(row["answer"] and row["error"] is None for row in rows)
    assert done.stderr.startswith(b"stdout: 3 answered")
    assert {path.name for path in folder.iterdir()} <= {"shots", "blocks.png", "cache", "config"}
    piped = run("batch", "-", "-p", "Describe this image.", "-o", "-", input=b"shots/s000.png\nshots/s002.png\n")
    assert {json.loads(line)["id"]: json.loads(line)["answer"] for line in piped.stdout.splitlines()} == {
        row["id"]: row["answer"] for row in rows if row["id"] != "shots/s001.png"
    }


def test_what_goes_to_stdout_cannot_begin_anew(run: Run) -> None:
    done = run("batch", "blocks.png", "-o", "-", "--restart")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--restart" in done.stderr
