"""Files that are being written: whole or not at all, and whoever ends the process on the spot takes them away first."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufvlm.errors import ModelError

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


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; it takes the target's place if the block ends well, else it goes away.

    Raises:
        ModelError: the file cannot be written.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    with unfinished(partial):
        try:
            yield partial
            partial.replace(target)
        except OSError as error:
            raise ModelError(f"{target}: cannot be written: {error.strerror or error}") from error
