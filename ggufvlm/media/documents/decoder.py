"""One process that reads PDFs and videos: the time, the memory and the life that a file takes are its own.

A PDF of 583 bytes can paint itself until the memory ends, and no thread can stop PDFium. Images are decoded where they
are wanted: their size stands in their first bytes. The other end is :mod:`.decoder_child`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ImageError, MissingExtra
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.workers.framing import Failure

if TYPE_CHECKING:
    from ggufvlm.workers.worker import Worker

PATIENCE = 20.0
"""Seconds without a sign of life after which a file is given up. A page is one; each frame of a video is one."""
_GLANCE = 0.2  # seconds between two looks at whether anybody still waits


@dataclass(frozen=True, slots=True)
class Open:
    """A file is to be opened under this number; the answer is what is known of it."""

    number: int
    file: MediaFile


@dataclass(frozen=True, slots=True)
class Call:
    """A method of an open file is to be called."""

    number: int
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """An open file is done with. There is no answer."""

    number: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Alive:
    """The child is busy and gets on."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """The child has ended, and how."""

    how: str


class DecoderLost(Exception):  # noqa: N818 - reads as what happened
    """Another file has ended the process in which this one was open."""


class Decoder:
    """The process, started when it is first needed and again when it has ended. From any thread, one call at a time."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._worker: Worker | None = None
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._n_opened = 0
        self._is_stopped = False
        self.generation = 0

    def open(self, file: MediaFile) -> tuple[int, int, Any]:
        """Open a file.

        Returns:
            The generation of the process, the file's number in it, and what is known of the file.

        Raises:
            ImageError: it cannot be read, takes too long, or ends the process.
        """
        with self._one_at_a_time:
            if self._is_stopped:
                raise _interrupted(file)
            worker = self._running()
            self._n_opened += 1
            value = self._ask(worker, Open(self._n_opened, file), file)
            return self.generation, self._n_opened, value

    def call(self, generation: int, file: MediaFile, call: Call) -> Any:
        """Call a method of an open file.

        Raises:
            DecoderLost: it is open no more.
            ImageError, UsageError: what the method raises; it takes too long, or ends the process.
        """
        with self._one_at_a_time:
            if self._is_stopped:
                raise _interrupted(file)
            self._notice_end()
            if self._worker is None or generation != self.generation:
                raise DecoderLost
            return self._ask(self._worker, call, file)

    def forget(self, generation: int, number: int) -> None:
        """Close a file, if it is still open."""
        with self._one_at_a_time:
            if self._worker is not None and generation == self.generation:
                self._worker.send(Close(number))

    def stop(self) -> None:
        """End the process and start none again: threads that wait for it, or will, get an error soon."""
        self._is_stopped = True
        if (worker := self._worker) is not None:
            worker.kill()

    def _notice_end(self) -> None:
        """The process may have ended while nobody asked it anything: no file is to be blamed then."""
        while not self._events.empty():
            if isinstance(self._events.get(), _Gone):
                self._worker = None

    def _running(self) -> Worker:
        self._notice_end()
        if self._worker is None:
            from ggufvlm.workers.worker import Worker  # images need no processes, and their commands start faster

            events: SimpleQueue[Any] = SimpleQueue()  # a new one: what the last process said is of no interest
            self._events = events
            self.generation += 1
            self._worker = Worker(
                "ggufvlm.media.documents.decoder_child",
                on_message=events.put,
                on_end=lambda how: events.put(_Gone(how)),
            )
        return self._worker

    def _ask(self, worker: Worker, message: Open | Call, file: MediaFile) -> Any:
        try:
            worker.send(message)
            answer = self._wait()
        except BaseException:  # Ctrl-C: nobody waits for the answer that will come
            self._end(worker)
            raise
        if isinstance(answer, Reply):
            return answer.value
        if isinstance(answer, Failure):
            raise answer.error()
        self._end(worker)
        if self._is_stopped:
            raise _interrupted(file)
        kind = "PDF" if file.kind is FileKind.PDF else "video"
        if isinstance(answer, _Gone):
            raise ImageError(f"{file.name}: a damaged {kind}: it ended its reader ({answer.how})")
        raise ImageError(f"{file.name}: reading this {kind} took longer than {PATIENCE:g} s and was given up")

    def _wait(self) -> Reply | Failure | _Gone | None:
        """The next answer; ``None`` if it is too long in coming, or nobody waits for it any more."""
        last_sign = time.monotonic()
        while not self._is_stopped and time.monotonic() - last_sign < PATIENCE:
            with contextlib.suppress(Empty):
                answer = self._events.get(timeout=_GLANCE)
                if not isinstance(answer, Alive):
                    return answer  # type: ignore[no-any-return]
                last_sign = time.monotonic()
        return None

    def _end(self, worker: Worker) -> None:
        worker.kill()
        self._worker = None


def _interrupted(file: MediaFile) -> ImageError:
    return ImageError(f"{file.name}: not read, the program ends")


_decoder = Decoder()


def stop() -> None:
    """End the process, for good: this one ends. Python waits for threads that may wait for it, so call this before."""
    _decoder.stop()


atexit.register(stop)


def _after_fork() -> None:
    """The parent's process is not this one's: its pipes would be shared."""
    global _decoder
    _decoder = Decoder()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def require_package(package: str, feature: str, extra: str) -> None:
    """Refuse, here and not in the process, what an optional package is needed for.

    Args:
        package: its name in an import.
        feature: what it is needed for, in words.
        extra: of ggufvlm, that brings it.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec(package) is None:
        raise MissingExtra(feature, extra)


class OpenFile:
    """A PDF or a video that is open in the process. Close it, or use ``with``.

    Args:
        file: what to open.

    Attributes:
        name: what messages call it.
        facts: what is known of it since it was opened.

    Raises:
        ImageError: it cannot be read, takes too long, or ends the process.
    """

    def __init__(self, file: MediaFile) -> None:
        self.name = file.name
        self._file = file
        self._generation, self._number, self.facts = _decoder.open(file)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of its reader; where another file has ended the process meanwhile, after opening it again.

        Raises:
            ImageError, UsageError: see there.
        """
        return self.call_or(self.reopen, method, *arguments)

    def call_or(self, if_lost: Callable[[], None], method: str, *arguments: Any) -> Any:
        """As :meth:`call`; ``if_lost`` is called where another file has ended the process, before it is tried again."""
        while True:
            try:
                return _decoder.call(self._generation, self._file, Call(self._number, method, arguments))
            except DecoderLost:
                if_lost()

    def reopen(self) -> None:
        """Open it again in a new process."""
        self._generation, self._number, self.facts = _decoder.open(self._file)

    def close(self) -> None:
        """Free it. Safe to call twice."""
        _decoder.forget(self._generation, self._number)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
