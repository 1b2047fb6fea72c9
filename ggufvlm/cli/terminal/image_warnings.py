"""Python's warnings about images, as lines on stderr."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ggufvlm.cli.terminal.interruption import wants_quiet
from ggufvlm.cli.terminal.streams import one_line
from ggufvlm.errors import ImageWarning

_usual = warnings.showwarning


def tell_image_warnings() -> None:
    """Have each told in a line, unless the command is to be quiet."""

    def say(text: str) -> None:
        if not wants_quiet():
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    _tell_through(say)


@contextmanager
def image_warnings_through(say: Callable[[str], None]) -> Iterator[None]:
    """Have them told by somebody else meanwhile, as by who draws a bar."""
    before = warnings.showwarning
    _tell_through(say)
    try:
        yield
    finally:
        warnings.showwarning = before


def _tell_through(say: Callable[[str], None]) -> None:
    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, ImageWarning):
            say(f"warning: {one_line(str(message))}")
        else:
            _usual(message, category, *place, **more)

    warnings.showwarning = show
