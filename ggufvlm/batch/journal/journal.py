"""The file that rows are appended to as they are made: a whole line or nothing, whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import RESTART, Syncer, as_output_error, lock
from ggufvlm.batch.journal.index import Index, JournalLine
from ggufvlm.batch.journal.rows import Row, complete, is_row
from ggufvlm.errors import UsageError
from ggufvlm.files import replacing_durably, sync_folder

if TYPE_CHECKING:
    from typing_extensions import Self

_START = b'{"id": '


class Journal:
    """A JSONL file of rows, with an index of what it holds.

    A last line without its end, which a killed process leaves, is cut off. Lines that a power cut has damaged are left
    out when the file is put in order.

    Args:
        path: made if it is not there.
        restart: begin anew; what is there becomes ``.bak``.
        sync_every: seconds after which rows are on the disk, not only with the system.

    Raises:
        UsageError: another run is writing it, or it holds something else.
        OutputError: it cannot be opened or read.
    """

    def __init__(self, path: Path, *, restart: bool = False, sync_every: float = 5.0) -> None:
        self.path = path
        self.name = shown(path)
        self.index = Index()
        self.n_damaged = 0
        self._syncer: Syncer | None = None
        self._fd = -1
        if path.exists() and not path.is_file():
            raise UsageError(f"{self.name}: not a regular file")
        with as_output_error(self.name):
            if restart and path.exists():
                path.replace(path.with_name(f"{path.name}.bak"))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
            sync_folder(path.parent)
        try:
            lock(self._fd, self.name)
            with as_output_error(self.name):
                self._end = self._read_all()
                os.ftruncate(self._fd, self._end)
        except BaseException:
            self.close()
            raise
        self._syncer = Syncer(self._fd, sync_every)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        self._reader = self.path.open("rb")
        self._reading = threading.Lock()

    def _read_all(self) -> int:
        """Fill the index; returns where the last whole line ends."""
        end = 0
        for line in self._reader:
            if not line.endswith(b"\n"):
                if end == 0 and not line.startswith(_START[: len(line)]) and line.strip(b"\0"):
                    raise self._foreign()
                break
            self._take(line, JournalLine(end, len(line)))
            end += len(line)
        if self.n_damaged and not len(self.index):
            raise self._foreign()
        return end

    def _take(self, line: bytes, place: JournalLine) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            self.n_damaged += 1
            return
        if not is_row(row):
            raise self._foreign()
        self.index.add(row, place)

    def _foreign(self) -> UsageError:
        return UsageError(f"{self.name}: holds something else than rows of ggufvlm batch", hint=RESTART)

    def append(self, row: Row) -> None:
        """Write a row in one piece.

        Raises:
            OutputError: the disk is full, or fails. The file then ends with the row before.
        """
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        assert self._syncer is not None
        with as_output_error(self.name):
            self._syncer.check()
            try:
                done = os.write(self._fd, line)
                while done < len(line):  # a disk that becomes full takes a part
                    done += os.write(self._fd, line[done:])
            except BaseException:
                os.ftruncate(self._fd, self._end)
                raise
        self.index.add(row, JournalLine(self._end, len(line)))
        self._end += len(line)
        self._syncer.touch()

    def read(self, place: JournalLine) -> Row:
        """A row by its place. From any thread."""
        return complete(json.loads(self._line(place)))

    def _line(self, place: JournalLine) -> bytes:
        with self._reading:
            self._reader.seek(place.start)
            return self._reader.read(place.length)

    def rows(self) -> Iterator[Row]:
        """The newest row of each id, in the order of the file."""
        for _, place in self.index.places():
            yield self.read(place)

    def put_in_order(self, order: Iterable[str] | None = None, without: Iterable[str] = ()) -> None:
        """Rewrite the file with one row of each id, if it is not so already.

        Args:
            order: ids in the order they shall have; others come behind them.
            without: ids to drop.

        Raises:
            OutputError: the disk is full, or fails. The file then stays as it was.
        """
        places = dict(self.index.places())
        found = list(places)
        for item_id in without:
            del places[item_id]
        first = dict.fromkeys(item_id for item_id in order or () if item_id in places)
        ids = [*first, *(item_id for item_id in places if item_id not in first)]
        if ids == found and not self.index.n_superseded and not self.n_damaged:
            return
        self.sync()
        index, end = Index(), 0
        with as_output_error(self.name):
            try:
                with replacing_durably(self.path) as file:
                    for item_id in ids:
                        line = self._line(places[item_id])
                        file.write(line)
                        index.add(json.loads(line), JournalLine(end, len(line)))
                        end += len(line)
                    self.close()  # Windows does not replace a file that is open
            finally:
                if self._fd < 0:
                    self._open()
        self.index, self._end, self.n_damaged = index, end, 0

    def sync(self) -> None:
        """Have everything on the disk.

        Raises:
            OutputError: the disk is full, or fails.
        """
        with as_output_error(self.name):
            if self._syncer is not None:
                self._syncer.check()
            os.fsync(self._fd)

    def close(self) -> None:
        """Sync and close. Safe to call twice."""
        if self._syncer is not None:
            self._syncer.close()
            self._syncer = None
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._fd)
            os.close(self._fd)
            self._reader.close()
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_rows(path: Path) -> Iterator[Row]:
    """All sound rows of a journal that somebody else may be writing, superseded ones too.

    Raises:
        OutputError: it cannot be read.
    """
    with as_output_error(shown(path)), path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if is_row(row):
                yield complete(row)
