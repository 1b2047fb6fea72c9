"""What a model thinks before it answers, on stderr: dim on a terminal, or only that it does."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal.console import Spinner, can_draw, make_console, say

if TYPE_CHECKING:
    from rich.console import Console

    from ggufvlm.vlm.answer import AnswerStream


class ThoughtsView:
    """Takes thoughts as they come, and gets out of the way when the answer begins.

    Args:
        output: whether stderr is to be drawn on.
        spinner: tells that the model thinks, where its thoughts are not shown.
        is_shown: whether they are.
    """

    def __init__(self, output: OutputOptions, spinner: Spinner, *, is_shown: bool) -> None:
        self._output, self._spinner, self._is_shown = output, spinner, is_shown
        self._console: Console | None = None
        self._last = ""
        self._n_words = 0

    def before(self, stream: AnswerStream) -> Iterator[str]:
        """The answer's pieces; on the way to them the thoughts are shown."""
        stream.on_thought = self._take
        return self._ended_by(stream)

    def _take(self, piece: str) -> None:
        self._n_words += len(piece.split())
        if not self._is_shown:
            self._spinner.update(f"thinking: {self._n_words} words")
            return
        self._spinner.close()
        self._last = piece
        if not can_draw(self._output, stderr=True):
            sys.stderr.write(piece)
            sys.stderr.flush()
            return
        if self._console is None:
            self._console = make_console(self._output, stderr=True)
        self._console.print(piece, style="dim", end="", markup=False, soft_wrap=True)

    def _ended_by(self, pieces: Iterable[str]) -> Iterator[str]:
        try:
            for piece in pieces:
                self._end()
                yield piece
        finally:
            self._end()

    def _end(self) -> None:
        if self._last:
            say("" if self._last.endswith("\n") else "\n")
            self._last = ""
