"""The contents of a journal, small enough to stay in memory: where each row lies, and what it answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ggufvlm.batch.item import false_on_oserror
from ggufvlm.batch.journal.rows import Row


class JournalLine(NamedTuple):
    """Where a line of the journal lies, in bytes."""

    start: int
    length: int


class Known(NamedTuple):
    """What is remembered of a row.

    Attributes:
        key: 32 bytes; ``None`` if its image could not be read.
        has_answer: whether asking again would give the same.
        is_error: a repetition loop is both.
    """

    place: JournalLine
    path: str | None
    key: bytes | None
    has_answer: bool
    is_error: bool


class Index:
    """The newest row of each id, and the rows that answer a key."""

    def __init__(self) -> None:
        self._by_id: dict[str, Known] = {}
        self._by_key: dict[bytes, JournalLine] = {}
        self._images: dict[bytes, str] = {}
        self.n_superseded = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, row: Row, place: JournalLine) -> None:
        """Take note of a row; an earlier one of the same id is superseded."""
        key = bytes.fromhex(row["key"]) if row["key"] else None
        has_answer, is_error = row["answer"] is not None, row["error"] is not None
        path = row["id"] if row["path"] == row["id"] else row["path"]  # one string of the two: they are many
        if row["id"] in self._by_id:
            self.n_superseded += 1
        self._by_id[row["id"]] = Known(place, path, key, has_answer, is_error)
        if key is not None and has_answer:
            self._by_key[key] = place
        files, images = (row["files"] or "").split(), (row["image"] or "").split()
        if len(files) == len(images):
            self._images.update(zip(map(bytes.fromhex, files), images, strict=True))

    def done(self, item_id: str, key: str) -> Known | None:
        """The row of this id, if it answers this key."""
        known = self._by_id.get(item_id)
        return known if known is not None and known.has_answer and known.key == bytes.fromhex(key) else None

    def place_of_key(self, key: str) -> JournalLine | None:
        """A row that answers this key."""
        return self._by_key.get(bytes.fromhex(key))

    def place_of_id(self, item_id: str) -> JournalLine | None:
        """The newest row of an id, if it has an answer."""
        known = self._by_id.get(item_id)
        return known.place if known is not None and known.has_answer else None

    def image_id(self, file_id: str) -> str | None:
        """The image in a file of these bytes, if it was seen before."""
        return self._images.get(bytes.fromhex(file_id))

    def places(self) -> Iterator[tuple[str, JournalLine]]:
        """The newest row of each id, as they lie in the journal."""
        for item_id, known in sorted(self._by_id.items(), key=lambda pair: pair[1].place.start):
            yield item_id, known.place

    def renamed(self, present: Collection[str]) -> set[str]:
        """Ids that are no input any more, whose file is gone, and whose answer another id took over."""
        present = frozenset(present)
        keys = {known.key for item_id, known in self._by_id.items() if item_id in present and known.has_answer}
        return {
            item_id
            for item_id, known in self._by_id.items()
            if item_id not in present
            and known.path
            and known.key in keys
            and not false_on_oserror(Path(known.path).exists)
        }
