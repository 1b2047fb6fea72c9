"""Standard streams as they are found: closed, full, in an encoding of few characters, or a terminal that obeys.

What a terminal is shown comes from models, files and the Hub as well, and some of its characters are commands: to write
the clipboard, to rename the window, to move over what stands there. :func:`harmless` takes them out. Only who draws on
purpose (:func:`drawing`) writes them.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO, cast

from ggufvlm.workers.native_stderr import begin_to_hear

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160)), _REPLACEMENT)
# a carriage return would write over the line, so that the line that is read is not the one that was written
_HARMLESS = {**_CONTROLS, ord("\t"): "\t", ord("\n"): "\n", ord("\r"): ""}


def harmless(text: str) -> str:
    """``text`` without characters that a terminal obeys; tabs and line ends stay. ECMA-48 lists them: C0, DEL, C1."""
    return text if text.isprintable() else text.translate(_HARMLESS)


def one_line(text: str) -> str:
    """``text`` as a message: harmless, and its line ends are blanks."""
    return harmless(text).replace("\n", " ").strip()


class FilteredStream(TextIOWrapper):
    """A standard stream to which a foreign text can be written as it is.

    A terminal, and stderr wherever it goes, get :func:`harmless` text. A pipe or file gets what the model said; only
    NUL, at which other programs end a text, is left out.

    Attributes:
        drawing: the same stream for who draws.
    """

    def __init__(self, stream: TextIOWrapper, *, for_people: bool, encoding: str) -> None:
        super().__init__(
            stream.buffer, encoding, "replace", line_buffering=stream.line_buffering, write_through=stream.write_through
        )
        self._for_people = for_people
        self.drawing = _Drawing(self)
        self._below = stream  # if it went away, it would close the file

    def write(self, text: str, /) -> int:
        """Write what of ``text`` does no harm."""
        self.write_as_it_is(harmless(text) if self._for_people else text.replace("\0", ""))
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """Write escape sequences that are meant."""
        return super().write(text)


class _Drawing:
    """The same stream for who draws: what it writes is meant."""

    def __init__(self, stream: FilteredStream) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_as_it_is(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def drawing(stream: TextIO) -> TextIO:
    """A standard stream for what draws on a terminal, and sees to it itself that only its own sequences get there."""
    return cast("TextIO", stream.drawing) if isinstance(stream, FilteredStream) else stream


def prepare() -> None:
    """Make stdout and stderr fit for any text: what they cannot hold becomes ``?``, and a closed one takes all."""
    os.environ.setdefault("PYTHON_COLORS", "0")  # a traceback, in colours by itself, would be taken for a foreign text
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this: >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif type(stream) is TextIOWrapper:
            is_terminal = stream.isatty()
            for_people = is_terminal or name == "stderr"
            encoding = _encoding(stream, is_terminal)
            if name == "stderr":
                stream = _of_its_own(stream)
            setattr(sys, name, FilteredStream(stream, for_people=for_people, encoding=encoding))


def _of_its_own(stderr: TextIOWrapper) -> TextIOWrapper:
    """The same place as another descriptor, which stays what it is while decoders that write to 2 are heard."""
    if stderr.fileno() != 2 or "--debug" in sys.argv:
        return stderr
    begin_to_hear()
    return os.fdopen(os.dup(2), "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors)


def _encoding(stream: TextIOWrapper, is_terminal: bool) -> str:
    """What other programs expect from a pipe is UTF-8; a terminal decides for itself unless it knows no letters."""
    if "PYTHONIOENCODING" in os.environ:
        return stream.encoding
    is_poor = codecs.lookup(stream.encoding).name == "ascii"
    return "utf-8" if is_poor or not is_terminal else stream.encoding


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
