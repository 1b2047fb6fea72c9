"""Answers beside their pictures: ``photo.jpg`` -> ``photo.txt``, as trainers of image models want them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ggufvlm.batch.disk import replacing, told
from ggufvlm.batch.item import Item, shown
from ggufvlm.batch.journal import Journal
from ggufvlm.batch.rows import Row

Kind = Literal["txt", "json"]
Existing = Literal["overwrite", "skip", "append"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SidecarStyle:
    """How sidecars look.

    Attributes:
        kind: the answer alone, or the whole row.
        prefix, suffix: put around the answer.
        trigger_word: put before everything, with a comma.
        existing: what becomes of a file that is there before.
    """

    kind: Kind
    prefix: str = ""
    suffix: str = ""
    trigger_word: str = ""
    existing: Existing = "overwrite"

    def text(self, answer: str) -> str:
        """What stands in a text file."""
        whole = f"{self.prefix}{answer.strip()}{self.suffix}"
        return f"{self.trigger_word}, {whole}" if self.trigger_word else whole


class Sidecars:
    """Writes them as rows come. Pictures that are no files of this machine have none.

    Two pictures of one name and different endings share a text file: the later one finds it there.
    """

    def __init__(self, style: SidecarStyle, journal: Journal) -> None:
        self._style = style
        self._journal = journal
        self.n_written = 0

    def __call__(self, item: Item, row: Row | None) -> None:
        """Write the sidecar of a row.

        Raises:
            OutputError: it cannot be written.
        """
        source = item.sources[0] if item.sources else None
        if not isinstance(source, Path):
            return
        target = source.with_suffix(f".{self._style.kind}")
        if row is None:  # the row was there before: so is its sidecar, unless the run was ended in between
            place = self._journal.index.place_of_id(item.id)
            if place is None or target.exists():
                return
            row = self._journal.read(place)
        if row["error"] is None and not (self._style.existing == "skip" and target.exists()):
            self._write(target, row)

    def _write(self, target: Path, row: Row) -> None:
        with told(shown(target)):
            text = self._text(row)
            if self._style.existing == "append" and target.exists():
                before = target.read_text(encoding="utf-8", errors="surrogateescape")
                text = before + ("" if before.endswith("\n") or not before else "\n") + text
            with replacing(target) as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        self.n_written += 1

    def _text(self, row: Row) -> str:
        if self._style.kind == "json":
            return json.dumps(row | {"answer": self._style.text(row["answer"])}, ensure_ascii=False) + "\n"
        return self._style.text(row["answer"]) + "\n"
