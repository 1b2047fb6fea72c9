"""Words of a chat on stderr, broken between words and not within them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.console import columns


def say(text: str) -> None:
    """Prose: each line is a paragraph."""
    for line in text.split("\n"):
        console.say(_wrapped(line, ""))


def say_rows(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table whose last column may go on in the next line; ``right`` are the columns whose text ends flush."""
    n_before = sum(max(map(len, column)) + 2 for column in list(zip(*rows, strict=True))[:-1])
    indent = n_before if n_before <= _width() // 2 else 4
    for line in columns(rows, right=right).split("\n"):
        console.say(_wrapped(line, " " * indent))


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (OSError, ValueError):
        return 0


def _wrapped(line: str, indent: str) -> str:
    width = _width()
    if width < 2 or len(line) < width:
        return line
    return "\n".join(
        textwrap.wrap(line, width - 1, subsequent_indent=indent, break_on_hyphens=False, replace_whitespace=False)
    )
