from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import ggufvlm
from tests.cli.conftest import Run

CAPTIONS = {
    1: "A blue column, a red square and a green bar on a white background.",
    2: "A yellow square and a white bar on a blue background.",
    3: "An orange column on a black background.",
}


@pytest.mark.parametrize("number", CAPTIONS)
def test_the_answer_is_right(run: Run, number: int) -> None:
    done = run("demo", "--picture", str(number))
    assert (done.returncode, done.stdout.decode()) == (0, CAPTIONS[number] + "\n")
    assert done.stderr == b"> Describe this image.\n"


def test_a_question_of_one_s_own_and_the_image_as_a_file(run: Run, folder: Path) -> None:
    done = run("demo", "What is on the left?", "--save", "out.png", "-q")
    assert done.stdout == b"The blue column.\n"
    with Image.open(folder / "out.png") as saved:
        assert saved.size == (448, 336)
        red, _, blue = saved.convert("RGB").getpixel((60, 180))  # type: ignore[misc]
        assert blue > 150 > red


def test_an_image_that_cannot_be_saved_is_one_line(run: Run) -> None:
    done = run("demo", "--save", "no/such/folder/out.png")
    assert done.returncode == 1
    assert b"out.png" in done.stderr
    assert b"Traceback" not in done.stderr


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout.decode().strip() == f"ggufvlm {ggufvlm.__version__}"
    for arguments in (["--help"], ["describe", "-h"], ["demo", "--help"]):
        done = run(*arguments)
        assert done.returncode == 0
        assert b"Usage: " in done.stdout
    assert run("describe").returncode == 2
