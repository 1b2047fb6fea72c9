"""The rows of an output that nobody has open, or somebody else: looked at, never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.index import Index, JournalLine
from ggufvlm.batch.journal.lines import parsed
from ggufvlm.batch.journal.rows import Row, complete
from ggufvlm.errors import OutputError


class KnownRows(Protocol):
    """Rows of earlier runs, found by what they answer."""

    index: Index

    def read(self, place: JournalLine) -> Row:
        """A row by its place."""


class OldRows:
    """The rows of a journal; none if it is not there. Damaged lines are passed over.

    Raises:
        OutputError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.index = Index()
        self._path = path
        if not path.is_file():
            return
        end = 0
        with as_output_error(shown(path)), path.open("rb") as file:
            for line in file:
                row = parsed(line)
                if row is not None:
                    self.index.add(row, JournalLine(end, len(line)))
                end += len(line)

    def read(self, place: JournalLine) -> Row:
        """A row by its place.

        Raises:
            OutputError: it cannot be read.
        """
        with as_output_error(shown(self._path)), self._path.open("rb") as file:
            file.seek(place.start)
            row = parsed(file.read(place.length))
        if row is None:
            raise OutputError(f"{shown(self._path)}: another program changed it")
        return complete(row)
