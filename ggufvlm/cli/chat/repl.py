"""The loop of a chat: a line, what it says, the answer; and lines from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ggufvlm.cli.chat import documents as chat_documents
from ggufvlm.cli.chat import layout as chat_layout
from ggufvlm.cli.chat.asking import ask
from ggufvlm.cli.chat.session import ChatSession, Leave
from ggufvlm.cli.chat.words import QUOTES, is_command, is_open, understand
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.errors import GGUFVLMError, InputError

if TYPE_CHECKING:
    from ggufvlm.cli.chat.line import Line

_LONGEST_LINE = 2_000_000  # bytes


class LineReader:
    """Plain lines: a script, or a terminal that can do nothing else.

    Attributes:
        n_lines: how many have been read.
    """

    def __init__(self, *, is_interactive: bool) -> None:
        self.is_interactive = is_interactive
        self.n_lines = 0

    def read(self, default: str, status: Callable[[], list[str]]) -> str:
        """The next message, all lines of it if it stands between three quotes.

        Raises:
            EOFError: there is none.
            InputError: the script is no text, or ends within quotes.
        """
        if default and self.is_interactive:
            console.say(f"not sent: {default}")
        text = self._line("> ")
        while is_open(text):
            try:
                text += "\n" + self._line(". ")
            except EOFError:
                raise InputError(f"the script ends within {QUOTES}") from None
        return text

    def _line(self, prompt: str) -> str:
        if self.is_interactive:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        data = sys.stdin.buffer.readline(_LONGEST_LINE + 1)
        if not data:
            raise EOFError
        self.n_lines += 1
        if len(data) > _LONGEST_LINE:
            raise InputError(f"longer than {_LONGEST_LINE // 1_000_000} MB: no model reads as much at a time")
        try:
            return data.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError("this is not UTF-8 text") from error

    def choose(self, question: str, keys: str) -> str:
        """See :class:`Reader`."""
        try:
            answer = self._line(f"{question} [{'/'.join(keys)}] ").strip().lower()[:1]
        except EOFError:
            answer = ""
        return answer if answer and answer in keys else keys[-1]

    def refresh(self) -> None:
        """Nothing is shown beside the line."""


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


def run(session: ChatSession, first: str | None = None) -> None:
    """Talk until the end.

    Args:
        session: with its images staged.
        first: a message to begin with.

    Raises:
        GGUFVLMError: in a script, which ends at its first error; the message names the line.
        KeyboardInterrupt: Ctrl-C in a script.
    """
    n_interruptions = 0
    line = first
    while True:
        try:
            if line is None:
                default, session.typed = session.typed, ""
                line = session.reader.read(default, session.status)
            n_interruptions = 0
            n_interruptions = int(take(session, line))
        except (EOFError, Leave):
            return
        except KeyboardInterrupt as interruption:
            if not session.reader.is_interactive:
                raise
            n_interruptions = 0 if "".join(interruption.args) else n_interruptions + 1
            if n_interruptions > 1:
                return
            if n_interruptions:
                session.tell("(Ctrl-C again, or Ctrl-D, leaves)")
        except GGUFVLMError as error:
            _report(session, error)
        line = None


def take(session: ChatSession, line: str) -> bool:
    """Do what a line says. True if Ctrl-C stopped the answer.

    Raises:
        Leave: it was the last one.
        GGUFVLMError: what went wrong.
    """
    before = session.n_stopped
    if is_command(line):
        from ggufvlm.cli.chat.commands import run_command  # takes 10 ms, and a first message does not need it

        run_command(session, line)
    elif line.strip():
        session.typed = line  # if nothing comes of it
        said = understand(line)
        chat_documents.stage(session, said.sources)
        session.typed = said.text
        if not said.text or ask(session, said.text):
            session.typed = ""
    return session.n_stopped > before


def _report(session: ChatSession, error: GGUFVLMError) -> None:
    """Say it and go on; a script ends here."""
    reader = session.reader
    if not reader.is_interactive:
        if isinstance(reader, LineReader) and reader.n_lines:
            error.args = (f"line {reader.n_lines}: {error}",)
        raise error
    if session.output.debug:
        import traceback

        traceback.print_exception(error)
    chat_layout.say(f"error: {error}")
    if error.hint:
        chat_layout.say(f"hint: {error.hint}")
