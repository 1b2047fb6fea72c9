"""llama.cpp's quantizer, in a process of its own.

It can neither be interrupted nor report a failed assertion other than by ending the process. A child makes both
harmless: Ctrl-C kills it, and a crash becomes an error message.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ggufvlm.errors import EngineError
from ggufvlm.files import replacing
from ggufvlm.workers.launch import command
from ggufvlm.workers.worker import how_it_ended

_STEP = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


def quantize_model(
    source: Path,
    target: Path,
    file_type: int,
    *,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``source`` in the type ``file_type`` (``enum llama_ftype``). Weights that are quantized already may be.

    Raises:
        EngineError: llama.cpp failed; the message carries its reason.
        ModelError: the target cannot be written.
    """
    from ggufvlm.hardware.cpu import default_threads

    with replacing(target) as partial:
        arguments = [str(source), str(partial), str(file_type), str(n_threads or default_threads())]
        with _start_child(arguments) as child:
            try:
                reasons = _follow(child, progress)
            except BaseException:
                child.kill()
                raise
        if child.returncode or not partial.is_file():
            why = " | ".join(reasons[-3:]) or how_it_ended(child.returncode)
            raise EngineError(f"llama.cpp could not quantize {source.name}: {why}")


def _start_child(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("ggufvlm.llama.quantize", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _follow(child: subprocess.Popen[str], progress: Callable[[int, int], None] | None) -> list[str]:
    """Report the child's steps until it ends; returns what else it said."""
    said = []
    assert child.stdout is not None
    for line in child.stdout:
        step = _STEP.match(line)
        if step is None:
            said.append(line.strip())
        elif progress is not None:
            progress(int(step[1]), int(step[2]))
    child.wait()
    return said


class _Printer(logging.Handler):
    """Shows what the parent wants to know: the tensor at work, warnings and errors."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR or _STEP.match(text):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


def main() -> int:
    """Quantize, in the child process; returns llama.cpp's result, 0 for success."""
    from ggufvlm.llama import log
    from ggufvlm.llama.bindings import llama

    log.logger.addHandler(_Printer())
    log.logger.setLevel(logging.INFO)
    source, target, file_type, n_threads = sys.argv[1:]
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = int(file_type), int(n_threads), True
    return int(llama.llama_model_quantize(os.fsencode(source), os.fsencode(target), params))
