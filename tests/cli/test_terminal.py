"""What a person sees: a pseudo-terminal, read as a terminal would show it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, shown_lines

pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are tested on POSIX")

PROGRAM = [sys.executable, "-m", "ggufvlm"]


def see(folder: Path, *arguments: str, columns: int = 80, **environment: str) -> tuple[str, int]:
    """All bytes that the terminal got, and the exit code."""
    child = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], *arguments],
        cwd=str(folder),
        dimensions=(24, columns),
        env={**os.environ, "TERM": "xterm-256color", "GGUFVLM_MODEL": "demo", **environment},
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    child.close()
    return child.before, child.exitstatus


def plain(text: str) -> str:
    """The text without escape sequences and line ends."""
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_answer_fits_any_width(folder: Path, columns: int) -> None:
    shown, code = see(folder, "describe", "blocks.png", columns=columns)
    lines = [line for line in shown_lines(shown, columns) if line]
    assert code == 0
    assert " ".join(lines) == SCENE.caption
    assert len(lines) == (2 if columns == 40 else 1)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_without_colors(folder: Path, environment: dict[str, str]) -> None:
    shown, code = see(folder, "demo", "-q", **environment)
    assert code == 0
    assert "A blue column" in plain(shown)
    assert "\x1b[3" not in shown, "no colour codes"
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown


def test_the_demo_draws_its_image_in_color(folder: Path) -> None:
    shown, _ = see(folder, "demo", COLORTERM="truecolor")
    assert shown.count("▀") > 300
    assert "38;2;31;90;200" in shown, "the blue of the column"
    assert "38;2;214;39;40" in shown, "the red of the square"


def test_color_can_be_forced_and_forbidden(folder: Path) -> None:
    assert "\x1b" not in see(folder, "describe", "blocks.png", "--color", "off")[0]


def test_ctrl_c_on_a_terminal(folder: Path, stuck: list[str]) -> None:
    child = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], "describe", *stuck, "-n", "-1", "--no-repetition-guard", "--stats"],
        cwd=str(folder),
        env={**os.environ, "TERM": "xterm", "GGUFVLM_MODEL": "demo"},
        encoding="utf-8",
        timeout=60,
    )
    child.expect("!!!")
    child.sendintr()
    child.expect("ended by abort")
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


@pytest.mark.parametrize("arguments", [["--stats"], ["--json"], ["--no-stream"]])
def test_the_progress_line_comes_and_goes(folder: Path, arguments: list[str]) -> None:
    """As with a model that takes its time: the line is there from the first moment on."""
    program = (
        "import sys\nfrom ggufvlm.cli.terminal import console\nfrom ggufvlm.cli.main import program\n"
        f"console.Spinner.DELAY = 0.0\nsys.argv = ['ggufvlm', 'describe', 'blocks.png', *{arguments!r}]\nprogram()"
    )
    child = pexpect.spawn(
        sys.executable,
        ["-c", program],
        cwd=str(folder),
        env={**os.environ, "TERM": "xterm-256color", "GGUFVLM_MODEL": "demo"},
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 100),
    )
    child.expect(pexpect.EOF)
    child.close()
    lines = [line for line in shown_lines(child.before, 100, 40) if line]
    assert child.exitstatus == 0, lines
    progress = ("loading the model", "looking at the image", "reading the prompt")
    assert any(words in child.before for words in progress)
    assert not any(words in line for words in progress for line in lines), lines
    assert SCENE.caption in " ".join(lines)
    assert "\x1b[?25h" in child.before, "the cursor is shown again"
