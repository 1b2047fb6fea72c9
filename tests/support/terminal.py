"""A terminal with a program in it: keys go in, and the screen is read as a person reads it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pyte

PROGRAM = [sys.executable, "-m", "ggufvlm"]
PATIENCE = 90  # seconds: a loaded machine is no failure
ENTER, CTRL_C, CTRL_D, TAB, UP = "\r", "\x03", "\x04", "\t", "\x1b[A"


class _Screen(pyte.HistoryScreen):
    """Answers the questions that programs ask their terminal."""

    answer: Callable[[str], Any]

    def write_process_input(self, data: str) -> None:
        self.answer(data)


class Terminal:
    """``ggufvlm ARGUMENTS`` on a pseudo-terminal that answers like a real one."""

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 80, rows: int = 24, program: Any = None, **environment: str
    ) -> None:
        command = program or [*PROGRAM, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(folder),
            dimensions=(rows, columns),
            env={
                **inherited,
                "TERM": "xterm-256color",
                "GGUFVLM_MODEL": "demo",
                "XDG_STATE_HOME": str(folder / "state"),
                "HOME": str(folder),
                **environment,
            },
            timeout=PATIENCE,
        )
        self.written = b""
        self.columns = columns
        self.screen = _Screen(columns, rows, history=5000, ratio=0.5)
        self.screen.answer = lambda data: self.child.send(data.encode())
        self._stream = pyte.ByteStream(self.screen)

    def _read(self) -> bool:
        try:
            data = self.child.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.written += data
        self._stream.feed(data)
        return True

    def wait(self, what: Callable[[], object], name: str) -> None:
        """Read until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            is_open = self._read()
            if what():
                return
            assert is_open, f"the program ended before {name}:\n{self.text}"
            assert time.monotonic() < deadline, f"no {name} came:\n{self.text}"

    def see(self, words: str) -> None:
        """Wait until the words are somewhere on the screen or above it."""
        self.wait(lambda: words in self.flat, repr(words))

    def wait_for_prompt(self) -> None:
        """Wait until an empty line is ready, with its status below."""
        self.wait(lambda: self.current_line == ">" and self.status, "prompt")

    def type(self, text: str) -> None:
        """Press keys and wait until they stand in the line."""
        self.child.send(text)
        end = "".join(text.split())[-12:]
        self.wait(lambda: self._typed.endswith(end), f"echo of {text!r}")

    def enter(self, line: str) -> None:
        """Type a line, send it, and wait for what comes of it and for the next line."""
        self.wait_for_prompt()
        self.type(line)
        self.child.send(ENTER)
        self.wait_for_prompt()

    def press(self, key: str) -> None:
        self.child.send(key)

    def resize(self, columns: int, rows: int = 24) -> None:
        lost = max(0, self.screen.lines - rows)  # lines at the top, which the cursor has to follow
        self.screen.resize(rows, columns)
        self.screen.cursor.y = max(0, self.screen.cursor.y - lost)
        self.columns = columns
        self.child.setwinsize(rows, columns)

    def end(self) -> int:
        """Wait for the end of the program; its exit code."""
        while self._read():
            pass
        self.child.close()
        assert self.child.exitstatus is not None, f"ended by signal {self.child.signalstatus}"
        return int(self.child.exitstatus)

    def leave(self) -> int:
        self.wait_for_prompt()
        self.press(CTRL_D)
        return self.end()

    # -- what is seen

    @property
    def lines(self) -> list[str]:
        """Scroll-back and screen, line by line, without blanks at the ends."""
        above = ["".join(line[x].data for x in range(self.columns)) for line in self.screen.history.top]
        return [line.rstrip() for line in [*above, *self.screen.display]]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def flat(self) -> str:
        """All words, however the lines are broken."""
        return " ".join(self.text.split())

    @property
    def current_line(self) -> str:
        return self.screen.display[self.screen.cursor.y].rstrip()

    @property
    def _typed(self) -> str:
        """What stands before the cursor, without blanks; a long line goes on in the next row."""
        at = self.screen.cursor
        rows = [*self.screen.display[: at.y], self.screen.display[at.y][: at.x]]
        return "".join("".join(rows[-3:]).split())

    @property
    def status(self) -> str:
        """The line at the bottom of the screen, below the line that is being typed."""
        below = [line.strip() for line in self.screen.display[self.screen.cursor.y + 1 :] if line.strip()]
        return below[-1] if below else ""

    def answer_to(self, question: str) -> str:
        """What stands between the last ``> question`` and the next prompt, as one line."""
        text = self.flat
        begin = text.rindex(f"> {question}") + len(question) + 2
        return text[begin:].split(" >")[0].strip()
