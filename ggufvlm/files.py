"""Files that are being written: whoever ends the process on the spot takes them away first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_unfinished: set[Path] = set()


@contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Within this block the file is of no use to anybody; behind it, it is gone or has another name.

    Raises:
        OSError: it cannot be taken away.
    """
    _unfinished.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _unfinished.discard(path)


def discard() -> None:
    """Take away what is unfinished. For signal handlers: no locks, no imports, no errors."""
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink()
