"""Standard streams as they are found: closed, full, or in an encoding of few characters."""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper
from pathlib import Path


def prepare() -> None:
    """Make stdout and stderr fit for any text: what they cannot hold becomes ``?``, and a closed one takes all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this: >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            is_poor = codecs.lookup(stream.encoding).name == "ascii" and "PYTHONIOENCODING" not in os.environ
            stream.reconfigure(encoding="utf-8" if is_poor else None, errors="replace")


def sentence(error: OSError) -> str:
    """What went wrong with a file, or, where none is named, with what was being written."""
    name = os.fspath(error.filename) if error.filename else "stdout"
    return f"{name}: {error.strerror or error}"


def let_go() -> None:
    """Forget what could not be written to stdout: the interpreter would try once more, and fail, as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
