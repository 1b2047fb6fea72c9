"""The file that rows are appended to as they are made: a whole line or nothing, whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import RESTART, Syncer, as_output_error
from ggufvlm.batch.journal.held_file import HeldFile, set_aside
from ggufvlm.batch.journal.index import Index, JournalLine
from ggufvlm.batch.journal.lines import is_json, parsed, was_row
from ggufvlm.batch.journal.rows import Row, complete
from ggufvlm.errors import OutputError, UsageError
from ggufvlm.files import sweep, sync_folder

if TYPE_CHECKING:
    from typing_extensions import Self

_START = b'{"id": '


class Journal:
    """A JSONL file of rows, with an index of what it holds.

    A last line without its end, which a killed process leaves, is cut off. Lines that a power cut or a failing disk has
    damaged are left out when the file is put in order.

    Args:
        path: made if it is not there.
        restart: begin anew; what is there becomes ``.bak``.
        sync_every: seconds after which rows are on the disk, not only with the system.

    Raises:
        UsageError: another run is writing it, or it holds something else.
        OutputError: it cannot be opened or read.
    """

    def __init__(self, path: Path, *, restart: bool = False, sync_every: float = 5.0) -> None:
        self.path = Path(os.path.realpath(path))  # a link stays one when its file is replaced
        self.name = shown(path)
        self.index = Index()
        self.n_damaged = 0
        self._n_unknown = 0
        self._syncer: Syncer | None = None
        self._sync_every = sync_every
        if path.exists() and not path.is_file():
            raise UsageError(f"{self.name}: not a regular file")
        with as_output_error(self.name):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if restart:
                set_aside(self.path, self.name)
            self._file = HeldFile(self.path, self.name)
            sync_folder(self.path.parent)
            sweep(self.path.parent)
        try:
            with as_output_error(self.name):
                self._file.cut(self._read_all())
        except BaseException:
            self.close()
            raise
        self._syncer = Syncer(self._file.handle, sync_every)

    def _read_all(self) -> int:
        """Fill the index; returns where the last whole line ends."""
        end = 0
        for line in self._file.lines():
            if not line.endswith(b"\n"):
                if end == 0 and not line.startswith(_START[: len(line)]) and line.strip(b"\0"):
                    raise self._foreign()
                break
            self._take(line, JournalLine(end, len(line)))
            end += len(line)
        n_ours = len(self.index) + self.n_damaged
        if self._n_unknown > max(n_ours and 1, n_ours // 2):  # a piece of a line, zeros in place of rows: not many
            raise self._foreign()
        self.n_damaged += self._n_unknown
        return end

    def _take(self, line: bytes, place: JournalLine) -> None:
        row = parsed(line)
        if row is not None:
            self.index.add(row, place)
        elif was_row(line):
            self.n_damaged += 1
        elif is_json(line):
            raise self._foreign()
        else:
            self._n_unknown += 1

    def _foreign(self) -> UsageError:
        return UsageError(f"{self.name}: holds something else than rows of ggufvlm batch", hint=RESTART)

    def append(self, row: Row) -> None:
        """Write a row in one piece.

        Raises:
            OutputError: the disk is full or fails, and the file ends with the row before; somebody else changed it.
        """
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        assert self._syncer is not None
        place = JournalLine(self._file.end, len(line))
        with as_output_error(self.name):
            self._syncer.check()
            self._file.append(line)
        self.index.add(row, place)
        self._syncer.touch()

    def read(self, place: JournalLine) -> Row:
        """A row by its place. From any thread.

        Raises:
            OutputError: it is not there any more, or cannot be read.
        """
        with as_output_error(self.name):
            return complete(self._row(self._file.read(place.start, place.length)))

    def _row(self, line: bytes) -> Row:
        row = parsed(line)
        if row is None:
            raise OutputError(f"{self.name}: another program changed it during the run")
        return row

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
        if ids != found or self.index.n_superseded or self.n_damaged:
            self.sync()
            self._rewrite([places[item_id] for item_id in ids])

    def _rewrite(self, places: Iterable[JournalLine]) -> None:
        index, end = Index(), 0
        self._close_syncer()
        with as_output_error(self.name):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._file.rewritten() as file:
                for place in places:
                    line = self._file.read(place.start, place.length)
                    file.write(line)
                    index.add(self._row(line), JournalLine(end, len(line)))
                    end += len(line)
        self.index, self.n_damaged = index, 0
        self._syncer = Syncer(self._file.handle, self._sync_every)

    def sync(self) -> None:
        """Have everything on the disk, in the file that has the journal's name.

        A file that somebody has deleted is written anew.

        Raises:
            OutputError: the disk is full, or fails; somebody else changed the file, or put another one in its place.
        """
        with as_output_error(self.name):
            if self._syncer is not None:
                self._syncer.check()
            self._file.check()
            if self._file.is_in_place():
                self._file.sync()
                return
            if os.path.lexists(self.path):
                hint = f"the rows of this run are in {shown(self._file.saved_beside())}"
                raise OutputError(f"{self.name}: another file took its place during the run", hint=hint)
        self._rewrite([place for _, place in self.index.places()])

    def close(self) -> None:
        """Sync and close. Safe to call twice."""
        self._close_syncer()
        if self._file.handle >= 0:
            with contextlib.suppress(OSError):
                self._file.sync()
            self._file.close()

    def _close_syncer(self) -> None:
        if self._syncer is not None:
            self._syncer.close()
            self._syncer = None

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
            row = parsed(line)
            if row is not None:
                yield complete(row)
