"""Standard input as a text: a question that is piped in, and ``@-``."""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Sequence

import typer

from ggufvlm.errors import InputError, UsageError
from ggufvlm.media.sources.arguments import ArgumentKind, classify
from ggufvlm.media.sources.labels import label

STDIN = "@-"
"""The text of an option that is to be read from stdin."""

PATIENCE = 2.0  # seconds without a byte after which it is told what is waited for
_MAX_BYTES = 16_000_000
_MOST_LINES = 100
_LONGEST_SHOWN = 50
_COMMAND = re.compile(r"\s*(\w+=\S* )*ggufvlm\s")
_NO_QUESTION = "no question? </dev/null"


def check_stdin_once(sources: Sequence[str], *texts: str | None) -> None:
    """Refuse to read stdin for two purposes.

    Args:
        sources: images; ``-`` is stdin.
        texts: prompt, system message; ``@-`` is stdin.

    Raises:
        UsageError: it would be.
    """
    if sources.count("-") + texts.count(STDIN) > 1:
        named = " and ".join(dict.fromkeys([*["-"] * sources.count("-"), *[STDIN] * texts.count(STDIN)]))
        raise UsageError(
            f"stdin can be read once: {named}", hint="name a file for one of them: photo.jpg, @question.txt"
        )


def read_stdin(*, quiet: bool = False) -> str:
    """All of stdin, as text.

    Raises:
        InputError: it is closed, too large, or no text.
    """
    if sys.stdin is None:
        raise InputError("stdin is closed")
    waiting = threading.Timer(PATIENCE, _say, [f"waiting for the question on stdin ({_NO_QUESTION})"])
    waiting.daemon = True
    if not quiet:
        waiting.start()
    try:
        data = sys.stdin.buffer.read(1)
    finally:
        waiting.cancel()
    data += sys.stdin.buffer.read(_MAX_BYTES)
    if len(data) > _MAX_BYTES:
        raise InputError(f"stdin: larger than {_MAX_BYTES // 1_000_000} MB: this is no text for a model")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "stdin: not UTF-8 text", hint='an image from stdin is -: ggufvlm describe - "What?"'
        ) from error
    return text.replace("\r\n", "\n").removesuffix("\n")


def piped_question(*, quiet: bool) -> str | None:
    """The question that a pipe or a file on stdin asks; ``None`` at a terminal or device, or where nothing comes.

    It is told, for who did not mean it: a loop reads its list from the same stdin as the programs in it.

    Raises:
        InputError: it is no text.
        UsageError: it is a list of files, or a script.
    """
    if not _is_piped():
        return None
    text = read_stdin(quiet=quiet)
    lines = [line.strip() for line in text.splitlines() if line.strip()][:_MOST_LINES]
    if not lines:
        return None
    if any(_COMMAND.match(line) for line in lines):
        raise UsageError("stdin is a script and no question", hint="ggufvlm describe ... </dev/null")
    if all(classify(line) is not ArgumentKind.TEXT for line in lines):
        raise UsageError(
            f"stdin is a list of files and no question: {_shown(lines[0])}",
            hint="`ggufvlm batch -` takes such a list; in a loop: ggufvlm describe ... </dev/null",
        )
    if not quiet:
        _say(f"note: the question comes from stdin: {_shown(lines[0])}")
    return text


def _is_piped() -> bool:
    if sys.stdin is None:
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _shown(line: str) -> str:
    short = line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"
    return f'"{label(short)}"'
