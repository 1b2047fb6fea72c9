"""The line of a chat, by prompt_toolkit: editing, history, several lines, the status below it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from ggufvlm.chat.kept import NO_HISTORY
from ggufvlm.cli.chat.completion import ChatCompleter
from ggufvlm.cli.chat.words import is_open
from ggufvlm.cli.options.shared import OutputOptions, Switch
from ggufvlm.files import personal_folder

_STYLE = Style.from_dict({"prompt": "bold", "bottom-toolbar": "noreverse italic", "bottom-toolbar.text": "noreverse"})


class Line:
    """What :class:`TerminalReader` reads with."""

    def __init__(self, output: OutputOptions) -> None:
        self._status: Callable[[], list[str]] = list
        colors = ColorDepth.DEPTH_1_BIT if output.color is Switch.OFF else None
        self._session: PromptSession[str] = PromptSession(
            message=[("class:prompt", "> ")],
            prompt_continuation=[("class:prompt", ". ")],
            multiline=True,  # Enter sends all the same, by the binding below: pasted lines stay together
            key_bindings=_bindings(),
            history=_history(),
            completer=ChatCompleter(),
            complete_while_typing=False,
            enable_history_search=True,
            bottom_toolbar=self._toolbar,
            style=_STYLE,
            color_depth=colors,
        )
        self._asking: PromptSession[str] = PromptSession(color_depth=colors)

    def read(self, default: str, status: Callable[[], list[str]]) -> str:
        """See :class:`Reader`."""
        self._status = status
        try:
            return self._session.prompt(default=default)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._session.default_buffer.text) from None

    def choose(self, question: str, keys: str) -> str:
        """See :class:`Reader`."""
        try:
            answer = self._asking.prompt(f"{question} [{'/'.join(keys)}] ").strip().lower()[:1]
        except (EOFError, KeyboardInterrupt):
            answer = ""
        return answer if answer and answer in keys else keys[-1]

    def refresh(self) -> None:
        """See :class:`Reader`."""
        self._session.app.invalidate()

    def _toolbar(self) -> str:
        app = get_app_or_none()
        return fitting(self._status(), app.output.get_size().columns if app else 80)


def fitting(parts: list[str], columns: int) -> str:
    """As many of the parts, the first before all others, as a line of this width holds."""
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line} · {part}"
        if len(longer) < columns:
            line = longer
    return line if len(line) < columns else line[: max(1, columns - 2)] + "…"


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # take what is chosen
        elif is_open(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("c-d")
    def _leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        else:
            event.app.exit(exception=EOFError, style="class:exiting")

    return bindings


def history_file() -> Path:
    """Where messages of earlier chats are kept."""
    return personal_folder("state") / "chat_history"


def _history() -> History:
    """In a file that only the user may read; in memory if the user wishes so, or it cannot be written."""
    if os.environ.get(NO_HISTORY):
        return InMemoryHistory()
    path = history_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
    except OSError as error:
        sys.stderr.write(f"note: no history: {path}: {error.strerror or error}\n")
        return InMemoryHistory()
    return FileHistory(path)
