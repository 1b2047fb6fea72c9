"""What native libraries write to file descriptor 2, past Python and all that keeps its stderr quiet."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2

# The descriptor belongs to the process: one call at a time is heard, and only where nothing of ours writes to it.
_one_at_a_time = threading.Lock()
_is_heard = threading.Event()


def begin_to_hear() -> None:
    """Let :func:`heard` do its work from now on. The caller sees to it that Python's stderr is another descriptor."""
    _is_heard.set()


@contextmanager
def heard(words: re.Pattern[str]) -> Iterator[list[str]]:
    """Take up the lines that a library writes within; nothing before :func:`begin_to_hear`.

    Args:
        words: what its lines begin with; any other, of a library in another thread, goes to where it was meant for.

    Returns:
        The lines, once the block has ended.
    """
    lines: list[str] = []
    if not _is_heard.is_set():
        yield lines
        return
    import tempfile

    with _one_at_a_time, tempfile.TemporaryFile() as file:
        usual = os.dup(_STDERR)
        os.dup2(file.fileno(), _STDERR)
        try:
            yield lines
        finally:
            os.dup2(usual, _STDERR)
            os.close(usual)
            file.seek(0)
            for line in file:
                if words.match(text := line.decode("utf-8", "replace")):
                    lines.append(text.strip())
                else:
                    os.write(_STDERR, line)
