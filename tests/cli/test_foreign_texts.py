"""Texts of models, files and the Hub on a terminal: what of them a terminal would obey does not get there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.cli.terminal.filtered_console import FilteredConsole
from ggufvlm.cli.terminal.markdown import MarkdownStream
from ggufvlm.cli.terminal.streams import harmless, one_line
from tests.support.terminal import Terminal

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
TITLE = "\x1b]0;owned\x07"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def _is_obeyed(character: str) -> bool:
    return character not in "\t\n" and (ord(character) < 32 or 127 <= ord(character) < 160)


@given(st.text())
def test_no_control_character_is_left_and_nothing_else_changes(text: str) -> None:
    shown = harmless(text)
    assert not [c for c in shown if _is_obeyed(c)]
    assert harmless(shown) == shown
    replacement = "\N{REPLACEMENT CHARACTER}"
    assert [c for c in shown if c != replacement] == [c for c in text if c != replacement and not _is_obeyed(c)]
    assert "\n" not in one_line(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "\x1b",
                "]52;c;QQ==\x07",
                "[2J",
                "\x9b2J",
                "**bold**",
                "[a](http://x/\x1b]0;t\x07)",
                "`c\x1b`",
                "\n\n",
                "|a|\n|-|\n|\x1b|\n",
                "\r",
                "word ",
            ]
        ),
        max_size=8,
    )
)
def test_markdown_of_a_model_holds_no_sequence_but_rich_s_own(pieces: list[str]) -> None:
    file = io.StringIO()
    console = FilteredConsole(file=file, force_terminal=True, width=40, color_system=None)
    with MarkdownStream(console, live=False) as stream:
        for piece in pieces:
            stream.write(piece)
    written = file.getvalue()
    assert "\x1b]52" not in written
    assert "\x1b]0" not in written
    assert "\x1b[2J" not in written
    assert not any(c in written for c in "\x07\x9b\r\x00")


def test_an_answer_does_not_write_the_clipboard(folder: Path) -> None:
    for more in ([], ["--no-stream"], ["--color", "off"]):
        shown = Terminal(folder, "describe", "blocks.png", "-n", "3", "--prefill", f"seen {CLIPBOARD}{TITLE}", *more)
        shown.see("seen")
        shown.end()
        assert b"]52;c;" in shown.written, "what was said is read"
        assert b"\x1b]52" not in shown.written
        assert b"\x1b]0" not in shown.written


def test_a_pipe_gets_what_the_model_said_without_nul(folder: Path) -> None:
    done = _run(folder, "describe", "blocks.png", "-m", "demo", "-n", "3", "--prefill", f"a{CLIPBOARD}")
    assert done.stdout.startswith(f"a{CLIPBOARD}".encode())


def test_names_in_errors_stay_names(folder: Path) -> None:
    name = f"a{TITLE}\nerror: b.png"
    (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    for arguments in (
        ["describe", name],
        ["describe", f"no{name}"],
        ["ocr", name],
        ["describe", "blocks.png", "-m", f"x{TITLE}/y"],
    ):
        done = _run(folder, *arguments)
        assert done.returncode
        assert b"\x1b" not in done.stderr
        assert b"\x07" not in done.stderr
        assert sum(line.startswith(b"error:") for line in done.stderr.splitlines()) == 1


def test_batch_names_files_without_obeying_them(folder: Path) -> None:
    (folder / "album").mkdir()
    (folder / "album" / f"b{TITLE}.png").write_bytes(b"no image")
    done = _run(folder, "batch", "album", "-m", "demo", "-o", "out.jsonl")
    assert b"\x1b]0" not in done.stderr
    shown = Terminal(folder, "batch", "album", "-o", "again.jsonl")
    shown.end()
    assert b"\x1b]0" not in shown.written


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "latin-1"])
def test_a_pipe_is_utf_8_whatever_the_console_has(folder: Path, encoding: str) -> None:
    """On Windows a pipe has the console's code page; here the same interpreter is told so before it begins."""
    script = (
        "import io, sys; from ggufvlm.cli.main import main;"
        f"sys.stdout = io.TextIOWrapper(sys.stdout.buffer, {encoding!r}, 'strict'); main()"
    )
    command = [sys.executable, "-c", script, "describe", "blocks.png", "-m", "demo", "-n", "1", "--prefill", "色 "]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=90, check=True, env=clean)
    assert done.stdout.decode("utf-8").startswith("色")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ggufvlm", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=90, check=False)
