"""Writing a journal so that nothing is lost: a lock, syncs, and one line when the disk fails."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ggufvlm.errors import OutputError, UsageError

RESTART = "--restart begins anew and keeps the old file as .bak"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENXIO, errno.ENODEV)
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class TargetError(OutputError):
    """One of many files cannot be written; that says nothing about the others."""


@contextmanager
def as_output_error(name: str) -> Iterator[None]:
    """Turn what the system says about a file into an OutputError of one line.

    Raises:
        OutputError: in place of an OSError of the block; its message names the file.
    """
    try:
        yield
    except OSError as error:
        hint = "make room and run the same command again: it goes on from here" if error.errno in _FULL else None
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}", hint=hint) from error


@contextmanager
def as_target_error(name: str) -> Iterator[None]:
    """As :func:`as_output_error`, for one of many files.

    Raises:
        TargetError: this file cannot be read or written.
        OutputError: the disk is full, or fails: no other file can be written, either.
    """
    try:
        with as_output_error(name):
            yield
    except OutputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno not in _OF_THE_DISK:
            raise TargetError(str(error), hint=error.hint) from error.__cause__
        raise


def lock(handle: int, name: str) -> None:
    """Keep other runs off a file until it is closed.

    Args:
        handle: the open file.
        name: what the error calls it.

    Raises:
        UsageError: another run has it.
    """
    try:
        _lock(handle)
    except OSError as error:
        if error.errno not in _TAKEN:  # a file system without locks
            return
        raise UsageError(f"{name}: another run is writing it", hint="wait for it, or name another output") from None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Windows keeps everybody from reading what is locked: lock a byte that no journal will ever reach
        os.lseek(handle, 1 << 62, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
        """Tell what a sync has met since.

        Raises:
            OSError: the disk is full, or fails.
        """
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
