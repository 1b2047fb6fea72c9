"""llama.cpp's and libmtmd's messages: into Python's logging, the last warnings kept for error messages."""

from __future__ import annotations

import logging
import threading
from collections import deque

logger = logging.getLogger("ggufvlm.native")

_CONTINUATION = 5
_LONGEST = 300  # a name out of a file may be 16 MB long
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


class _Tail(threading.local):
    """What one thread's calls have said: two loads at a time must not explain each other's failures."""

    def __init__(self) -> None:
        self.recent: deque[str] = deque(maxlen=12)
        self.pending = ""
        self.level = logging.INFO


_tail = _Tail()


def receive(level: int, text: bytes, _user_data: object) -> None:
    """Take one fragment of a message (``ggml_log_callback``). Runs on whatever thread logs, and must not raise."""
    if level != _CONTINUATION:
        _tail.level = _LEVELS.get(level, logging.INFO)
    *lines, _tail.pending = (_tail.pending + text.decode("utf-8", "replace")).split("\n")
    for line in lines:
        _emit(_tail.level, line.rstrip())


def _emit(level: int, line: str) -> None:
    if not line.strip(" ."):
        return
    if level >= logging.WARNING:
        _tail.recent.append(line[:_LONGEST])
    if logger.isEnabledFor(level):
        logger.log(level, "%s", line)


def forget() -> None:
    """Drop this thread's kept warnings: what comes from here on belongs to its next operation."""
    _tail.recent.clear()


def explain(message: str) -> str:
    """``message`` followed by the last native warnings of this thread, in one line."""
    reasons = list(dict.fromkeys(_tail.recent))[-3:]
    return f"{message}: {' | '.join(reasons)}" if reasons else message
