"""Running a program to its end, with the time of its first word and the memory it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ggufvlm.errors import EngineError


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedProgram:
    """A program that has ended well.

    Attributes:
        first: seconds from its start to the first byte on stdout that is no blank; None if it wrote none.
        last: seconds to the last bytes on stdout.
        seconds: from its start to its end.
        peak: bytes of memory at most; None where the system does not tell.
    """

    stdout: str
    stderr: str
    first: float | None
    last: float
    seconds: float
    peak: int | None


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> FinishedProgram:
    """Run a program.

    ``peak`` counts from this process's own size on (Linux takes a parent's size over): run what is to be measured
    before anything large is loaded here.

    Raises:
        EngineError: it cannot be started, or it failed; the message has its last line.
    """
    import tempfile

    words = [os.fspath(word) for word in command]
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise EngineError(f"{words[0]}: cannot be run: {error.strerror or error}") from error
        assert process.stdout is not None
        with process, process.stdout:
            stdout, first, last = _read(process.stdout, began)
            peak = _wait(process)
        seconds = time.perf_counter() - began
        errors.seek(0)
        stderr = errors.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise EngineError(_failure(words, process.returncode, stderr))
    return FinishedProgram(
        stdout=stdout.decode("utf-8", "replace"), stderr=stderr, first=first, last=last, seconds=seconds, peak=peak
    )


def _failure(words: Sequence[str], code: int, stderr: str) -> str:
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    return f"{Path(words[0]).name} ended with code {code}: {last}"


def _read(stream: IO[bytes], began: float) -> tuple[bytes, float | None, float]:
    said, first, last = b"", None, 0.0
    while piece := os.read(stream.fileno(), 1 << 16):
        said += piece
        last = time.perf_counter() - began
        if first is None and said.strip():
            first = last
    return said, first, last


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the end; returns the most memory it had."""
    if sys.platform == "win32":
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
