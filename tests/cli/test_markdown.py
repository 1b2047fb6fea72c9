"""Markdown streamed onto a terminal, seen through a terminal emulator's eyes."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ggufvlm.cli.options.shared import OutputOptions, Switch
from ggufvlm.cli.terminal.console import make_console
from ggufvlm.cli.terminal.markdown import MarkdownStream
from tests.cli.conftest import shown_lines

ANSWER = (
    "# Title\n\nA paragraph with **bold** words and `code` that is long enough to wrap around the line.\n\n"
    + "".join(f"{number}. item number {number}\n" for number in range(1, 31))
    + "\n| name | value |\n|---|---|\n"
    + "".join(f"| row {number} | {number * number} |\n" for number in range(12))
    + "\n```\n"
    + "".join(f"code line {number}\n" for number in range(20))
    + "```\n\nfirst line\nsecond line\n\nThe end 😀.\n"
)


def screen_after(answer: str, size: int, *, live: bool, columns: int, rows: int) -> list[str]:
    """Everything in the scroll-back and on the screen after streaming the answer in pieces of a size."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=columns, height=rows, legacy_windows=False)
    stream = MarkdownStream(console, live=live)
    stream.INTERVAL, stream.SHARE = 0.0, 1e9  # draw after every piece
    with stream:
        for start in range(0, len(answer), size):
            stream.write(answer[start : start + size])
    return shown_lines(out.getvalue().replace("\n", "\r\n"), columns, rows)


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("rows", [8, 100])
@pytest.mark.parametrize("size", [5, 60])
def test_streaming_leaves_what_drawing_once_leaves(columns: int, rows: int, size: int) -> None:
    once = screen_after(ANSWER, len(ANSWER), live=False, columns=columns, rows=rows)
    streamed = screen_after(ANSWER, size, live=True, columns=columns, rows=rows)
    words = [line.split() for line in once if line.strip()]
    seen = [line.split() for line in streamed if line.strip()]
    assert seen == words, "no line twice, none lost, none out of order"


def test_line_breaks_that_the_model_writes_are_kept() -> None:
    lines = screen_after("first line\nsecond line\n", 5, live=True, columns=80, rows=24)
    assert lines[:2] == ["first line", "second line"]


@pytest.mark.parametrize(
    "answer",
    [
        "3.",
        "12)",
        "-",
        "#",
        ">",
        "<b>bold</b>",
        "<table>\n<tr><td>7</td></tr>\n</table>",
        "[1]: https://example.org",
    ],
)
def test_an_answer_that_markdown_would_swallow_is_shown(answer: str) -> None:
    for live in (True, False):
        shown = "\n".join(screen_after(answer, 2, live=live, columns=80, rows=24)).strip()
        assert shown == answer


def test_empty_blocks_between_others() -> None:
    words = " ".join(screen_after("One\n\n3.\n\n- a\n-\n\n# Title", 3, live=True, columns=40, rows=24)).split()
    assert words[:2] == ["One", "3."]
    assert words[-1] == "Title"


def test_code_stands_on_the_terminal_s_own_background(capsys: pytest.CaptureFixture[str]) -> None:
    """A black box would be all that a light terminal shows of it."""
    with MarkdownStream(make_console(OutputOptions(color=Switch.ON)), live=False) as stream:
        stream.write("Call `f(1)`:\n\n```python\ndef f(x):\n    return 'a'\n```\n\n    indented\n")
    written = capsys.readouterr().out
    styles = [int(number) for found in re.findall(r"\x1b\[([\d;]*)m", written) for number in found.split(";") if number]
    assert 36 in styles, "coloured"
    assert not [style for style in styles if style in (7, *range(40, 50), *range(100, 108))], "no background"
