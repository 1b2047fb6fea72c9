"""The process of :mod:`.decoder`: PDFs and videos are opened here, and only here."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.media.documents.decoder import Alive, Call, Close, Open, Reply
from ggufvlm.media.documents.pdf_reader import PdfReader
from ggufvlm.media.documents.video_reader import ClipReader
from ggufvlm.media.sources.labels import label
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.parent import Parent

_MAX_MEMORY = {FileKind.PDF: 3 << 30, FileKind.VIDEO: 8 << 30}
"""Bytes of address space. A video of 8K in 10 bits has 32 frames of 100 MB in flight; PDFium needs no tenth of it."""
_BEAT = 1.0  # seconds between two signs of life


class _Reading:
    """A file that is open, and the frames that are being taken of it."""

    def __init__(self, file: MediaFile, parent: Parent) -> None:
        self.name = file.name
        self._kind = file.kind
        self._told = time.monotonic()
        self._parent = parent
        self._limit()
        self.reader = PdfReader(file) if file.kind is FileKind.PDF else ClipReader(file, self._beat)
        self._frames: Iterator[Any] = iter(())

    @property
    def facts(self) -> float:
        """The number of pages, or seconds."""
        return self.reader.n_pages if isinstance(self.reader, PdfReader) else self.reader.duration

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self._limit()
        if method == "at":  # frames come one by one: see "next"
            assert isinstance(self.reader, ClipReader)
            self._frames = self.reader.at(*arguments)
            return None
        if method == "next":
            return next(self._frames, None)
        return getattr(self.reader, method)(*arguments)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._told >= _BEAT:
            self._told = now
            self._parent.send(Alive())

    def _limit(self) -> None:
        if sys.platform == "win32":
            return
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = _MAX_MEMORY[self._kind]
        with contextlib.suppress(ValueError, OSError):  # a smaller one is set for this user already
            resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def main() -> None:
    """Open files and call their methods until the parent ends."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would take address space, and have no work
    parent = Parent()
    messages: SimpleQueue[Open | Call | Close] = SimpleQueue()
    parent.listen(messages.put)
    files: dict[int, _Reading] = {}
    while True:
        message = messages.get()
        if isinstance(message, Close):
            if message.number in files:
                files.pop(message.number).reader.close()
            continue
        try:
            parent.send(Reply(_answer(message, files, parent)))
        except GGUFVLMError as error:
            parent.send(Failure.of(error))
        except Exception as error:  # noqa: BLE001 - of whatever a library raises, one line is told, and nobody waits
            name = message.file.name if isinstance(message, Open) else files[message.number].name
            why = f"{type(error).__name__}: {label(str(error))}"
            parent.send(Failure.of(ImageError(f"{name}: damaged, or of a kind that cannot be read ({why})")))


def _answer(message: Open | Call, files: dict[int, _Reading], parent: Parent) -> Any:
    if isinstance(message, Open):
        files[message.number] = _Reading(message.file, parent)
        return files[message.number].facts
    return files[message.number].call(message.method, message.arguments)
