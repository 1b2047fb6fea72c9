"""A model and a projector are tried once in a process of their own, for llama.cpp ends its process on many files.

:mod:`ggufvlm.models.soundness` finds what is known to go wrong without any process. This finds the rest.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import ModelError
from ggufvlm.gguf.names import split_parts
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.llama.probe import library_fingerprint
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.worker import Worker

NO_TRIAL_VARIABLE = "GGUFVLM_NO_TRIAL"
_VERSION = "1"  # raise it when the child tries more
_LOOK = 0.05  # seconds between two looks at whether the user has given up


class Pair(NamedTuple):
    """What the child is to try."""

    model: Path
    mmproj: Path
    n_threads: int


def try_once(pair: Pair, cancel: CancelToken) -> None:
    """See that llama.cpp survives a pair, unless it did with this state of both files and this library.

    What it refuses in words is no matter of this function: it refuses it again when the pair is loaded. A bad end is
    not remembered, as it may be due to the machine. Where no process can be started, nothing is tried.

    Args:
        pair: the files.
        cancel: ends the trial.

    Raises:
        ModelError: the process of the trial crashed.
        LoadAborted: ``cancel`` was cancelled.
    """
    if os.environ.get(NO_TRIAL_VARIABLE, "") not in ("", "0"):
        return
    name = f"tried-{_state(pair)}"
    if read_note(name) == _VERSION:
        return
    try:
        crash = _run(pair, cancel)
    except OSError:
        return
    if crash is not None:
        raise ModelError(
            f"{pair.model.name} with {pair.mmproj.name}: llama.cpp crashes on this pair: {crash}",
            hint=f"download both files again; {NO_TRIAL_VARIABLE}=1 loads them without this trial",
        )
    write_note(name, _VERSION)


def _state(pair: Pair) -> str:
    parts = [library_fingerprint()]
    for path in (*split_parts(pair.model), pair.mmproj):
        try:
            found = path.stat()
        except OSError as error:
            raise ModelError(f"{path.name}: cannot be read: {error.strerror or error}") from error
        parts.append(f"{path.resolve()} {found.st_size} {found.st_mtime_ns} {found.st_ino}")
    return hashlib.sha256(os.fsencode("\n".join(parts))).hexdigest()[:32]


def _run(pair: Pair, cancel: CancelToken) -> str | None:
    """How the child crashed; None if it did not.

    Raises:
        OSError: no process can be started.
    """
    ends: SimpleQueue[str | None] = SimpleQueue()

    def survived(_verdict: bool | Failure) -> None:
        ends.put(None)

    worker = Worker("ggufvlm.llama.trial_child", on_message=survived, on_end=ends.put, new_session=True)
    try:
        worker.send(pair)
        while True:
            try:
                return ends.get(timeout=_LOOK)
            except Empty:
                cancel.check()
    finally:
        worker.kill()
