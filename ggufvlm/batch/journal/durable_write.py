"""Writing files so that nothing is lost: locks, syncs, replacement in one step, and one line when the disk fails."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ggufvlm.errors import OutputError, UsageError
from ggufvlm.files import unfinished

RESTART = "--restart begins anew and keeps the old file as .bak"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what the system says about a file into an OutputError of one line."""
    try:
        yield
    except OSError as error:
        hint = "make room and run the same command again: it goes on from here" if error.errno in _FULL else None
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}", hint=hint) from error


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file that takes the target's place, synced, if the block ends well; else it goes away.

    Raises:
        OSError: it cannot be written.
    """
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.partial")
    with unfinished(partial):
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock(handle: int, name: str) -> None:
    """Keep other runs off a file until it is closed.

    Raises:
        UsageError: another run has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{name}: another run is writing it", hint="wait for it, or name another output") from None
    except OSError:
        return  # a file system without locks


class Syncer:
    """A thread that syncs a file at intervals while it is written: the writer never waits for the disk."""

    def __init__(self, handle: int, interval: float) -> None:
        self._handle = handle
        self._interval = interval
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="ggufvlm-sync", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Say that something was written."""
        self._changed.set()

    def check(self) -> None:
        """Raises: OSError, what a sync met since."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            if self._ended.wait(self._interval):
                return
            self._changed.clear()
            try:
                os.fsync(self._handle)
            except OSError as error:
                self._error = error
