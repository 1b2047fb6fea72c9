"""llama.cpp's and libmtmd's messages: into Python's logging, the last warnings kept for error messages."""

from __future__ import annotations

import logging
from collections import deque

logger = logging.getLogger("ggufvlm.native")

_CONTINUATION = 5
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_recent: deque[str] = deque(maxlen=12)
_pending = ""
_pending_level = logging.INFO


def receive(level: int, text: bytes, _user_data: object) -> None:
    """Take one fragment of a message (``ggml_log_callback``). Runs on whatever thread logs, and must not raise."""
    global _pending, _pending_level
    if level != _CONTINUATION:
        _pending_level = _LEVELS.get(level, logging.INFO)
    _pending += text.decode("utf-8", "replace")
    while "\n" in _pending:
        line, _pending = _pending.split("\n", 1)
        _emit(_pending_level, line.rstrip())


def _emit(level: int, line: str) -> None:
    if not line.strip(" ."):
        return
    if level >= logging.WARNING:
        _recent.append(line)
    if logger.isEnabledFor(level):
        logger.log(level, "%s", line)


def forget() -> None:
    """Drop the kept warnings: what comes from here on belongs to the next operation."""
    _recent.clear()


def explain(message: str) -> str:
    """``message`` followed by the last native warnings, in one line."""
    reasons = list(dict.fromkeys(_recent))[-3:]
    return f"{message}: {' | '.join(reasons)}" if reasons else message
