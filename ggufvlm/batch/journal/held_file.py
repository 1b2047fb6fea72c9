"""A file that one process alone appends to, known by its inode: its name may be taken from it meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

from ggufvlm.batch.journal.durable_write import lock
from ggufvlm.errors import OutputError, UsageError
from ggufvlm.files import replacing_durably, sync_folder

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_TRIES = 20


class HeldFile:
    """The file with its lock, from when it is opened until it is closed.

    Args:
        path: made if it is not there.
        name: what errors call it.

    Attributes:
        end: bytes that are known to be in it.

    Raises:
        UsageError: another run has it.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self.handle = _open_locked(path, name)
        self.end = os.fstat(self.handle).st_size
        self._position = threading.Lock()  # reading moves it

    def lines(self) -> Iterator[bytes]:
        """All lines, from the first."""
        with os.fdopen(os.dup(self.handle), "rb") as file:
            file.seek(0)
            yield from file

    def read(self, start: int, length: int) -> bytes:
        """Some bytes; fewer where the file ends. From any thread."""
        pieces = []
        with self._position:
            os.lseek(self.handle, start, os.SEEK_SET)
            while length and (piece := os.read(self.handle, length)):
                pieces.append(piece)
                length -= len(piece)
        return b"".join(pieces)

    def cut(self, end: int) -> None:
        """Drop what lies behind ``end``."""
        os.ftruncate(self.handle, end)
        self.end = end

    def append(self, line: bytes) -> None:
        """Write in one piece; if that fails, the file ends as before.

        Raises:
            OSError: the disk is full, or fails.
            OutputError: somebody else has changed the file.
        """
        self.check()
        start = self.end
        try:
            with self._position:
                done = 0
                while done < len(line):  # a disk that becomes full takes a part
                    done += os.write(self.handle, line[done:])
            self.end = start + done
        except BaseException:
            self.cut(start)
            raise

    def check(self) -> None:
        """Look whether the file is as long as it was left.

        Raises:
            OutputError: somebody else has changed it.
        """
        if os.fstat(self.handle).st_size != self.end:
            hint = "the same command goes on from what is there now"
            raise OutputError(f"{self._name}: another program changed it during the run", hint=hint)

    def is_in_place(self) -> bool:
        """Whether the name still means this file."""
        return _is_at(self.handle, self._path)

    @contextmanager
    def rewritten(self) -> Iterator[IO[bytes]]:
        """A new file to fill. If the block ends well it takes this one's place; the lock is held all the while.

        Raises:
            OSError: the disk is full, or fails. The file then stays as it was.
        """
        successor = -1
        try:
            with replacing_durably(self._path) as file:
                yield file
                file.flush()
                if sys.platform == "win32":
                    self.close()  # Windows does not replace a file that is open
                else:
                    successor = self._succeeded_by(file)
        except BaseException:
            if successor >= 0:
                os.close(successor)
            if self.handle < 0:
                self.handle = _open_locked(self._path, self._name)
            raise
        self.close()
        self.handle = successor if successor >= 0 else _open_locked(self._path, self._name)
        self.end = os.fstat(self.handle).st_size

    if sys.platform != "win32":

        def _succeeded_by(self, file: IO[bytes]) -> int:
            import fcntl

            successor = os.dup(file.fileno())
            lock(successor, self._name)
            fcntl.fcntl(successor, fcntl.F_SETFL, fcntl.fcntl(successor, fcntl.F_GETFL) | os.O_APPEND)
            with contextlib.suppress(OSError):  # file systems without permissions
                os.fchmod(successor, os.fstat(self.handle).st_mode & 0o7777)
            return successor

    def saved_beside(self) -> Path:
        """A copy under a name that is free.

        Raises:
            OSError: it cannot be written.
        """
        for number in count(1):
            path = self._path.with_name(f"{self._path.name}.rescued{number if number > 1 else ''}")
            with contextlib.suppress(FileExistsError), path.open("xb") as file:
                file.writelines(self.lines())
                file.flush()
                os.fsync(file.fileno())
                sync_folder(path.parent)
                return path
        raise AssertionError

    def sync(self) -> None:
        """Have everything on the disk.

        Raises:
            OSError: the disk is full, or fails.
        """
        os.fsync(self.handle)

    def close(self) -> None:
        """Let go of it. Safe to call twice."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def set_aside(path: Path, name: str) -> None:
    """Rename what is there to ``.bak``, unless it is empty or another run writes it.

    Raises:
        UsageError: another run has it.
        OSError: it cannot be renamed.
    """
    if not path.exists():
        return
    held = HeldFile(path, name)
    try:
        if held.end == 0:
            return
        if sys.platform == "win32":
            held.close()
        path.replace(path.with_name(f"{path.name}.bak"))
    finally:
        held.close()


def _open_locked(path: Path, name: str) -> int:
    for _ in range(_TRIES):
        handle = os.open(path, _FLAGS, 0o666)
        try:
            lock(handle, name)
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # between opening and locking, its run has put another file there
    raise UsageError(f"{name}: other runs are writing it", hint="wait for them, or name another output")


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
