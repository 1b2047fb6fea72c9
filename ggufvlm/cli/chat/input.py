"""Messages from a terminal that can move its cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ggufvlm.cli.options.shared import OutputOptions

if TYPE_CHECKING:
    from ggufvlm.cli.chat.line import Line


class TerminalReader:
    """A line with editing and history. It is made when it is needed: a first message given as argument is answered
    before prompt_toolkit is imported."""

    is_interactive = True

    def __init__(self, output: OutputOptions) -> None:
        self._output = output
        self._made: Line | None = None

    def read(self, default: str, status: Callable[[], list[str]]) -> str:
        """See :class:`Reader`."""
        return self._line.read(default, status)

    def choose(self, question: str, keys: str) -> str:
        """See :class:`Reader`."""
        return self._line.choose(question, keys)

    def refresh(self) -> None:
        """See :class:`Reader`."""
        if self._made is not None:
            self._made.refresh()

    @property
    def _line(self) -> Line:
        if self._made is None:
            from ggufvlm.cli.chat.line import Line

            self._made = Line(self._output)
        return self._made
