"""Ctrl-C while there is nothing to keep yet."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ggufvlm import files as partials
from ggufvlm.errors import ExitCode


class Interrupted(Exception):  # noqa: N818 - reads as what happened
    """Ctrl-C ended a command; the text is told, and says what was kept; an empty one leaves without a word."""

    def __init__(self, text: str = "interrupted") -> None:
        super().__init__(text)


def wants_quiet() -> bool:
    """Whether ``-q`` stands in the command line, for what is told before it is parsed."""
    return any(re.fullmatch(r"--quiet|-[a-z]*q[a-z]*", argument) for argument in sys.argv)


@contextmanager
def leaving_at_once(*, quiet: bool) -> Iterator[None]:
    """Within this block Ctrl-C ends the process on the spot.

    A KeyboardInterrupt that is raised inside an import is lost with a traceback where Python's own bookkeeping runs,
    and can leave a lock taken for which another thread waits indefinitely. Nothing is lost by leaving: no answer has
    begun.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored in a background job, or the caller's own
        return

    def leave(_signal: int, _frame: FrameType | None) -> None:
        if sys.stderr.isatty():
            os.write(2, b"\r\x1b[2K\x1b[?25h")  # the progress line, and the cursor it hid
        if not quiet:
            os.write(2, b"interrupted\n")
        partials.discard()
        os._exit(ExitCode.INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Within this block the first Ctrl-C calls ``stop`` and raises nothing; a second one raises KeyboardInterrupt.

    What runs meanwhile ends in order: a KeyboardInterrupt would end the generators that hold what was said.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored in a background job, or the caller's own
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
