"""Answers beside their images: ``photo.jpg`` -> ``photo.txt``, as trainers of image models want them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ggufvlm.batch.item import Item, false_on_oserror, leads_out, shown
from ggufvlm.batch.journal.durable_write import TargetError, as_target_error
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.keywords import keywords_in
from ggufvlm.files import replacing_durably
from ggufvlm.media.decoding.formats import is_document_name
from ggufvlm.media.metadata.block import Damaged
from ggufvlm.media.metadata.xmp import described, description, keywords

Kind = Literal["txt", "json", "xmp"]
Existing = Literal["overwrite", "skip", "append"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SidecarStyle:
    """How sidecars look.

    Attributes:
        kind: the answer alone, the whole row, or the answer as description in an XMP file, whose other contents stay.
        prefix, suffix: put around the answer.
        trigger_word: put before everything, with a comma.
        existing: what becomes of a file that is there before.
        keywords: of an XMP file: answers are lists, and become keywords in place of the description.
    """

    kind: Kind
    prefix: str = ""
    suffix: str = ""
    trigger_word: str = ""
    existing: Existing = "overwrite"
    keywords: bool = False

    def text(self, answer: str) -> str:
        """What stands in a text file."""
        whole = f"{self.prefix}{answer.strip()}{self.suffix}"
        return f"{self.trigger_word}, {whole}" if self.trigger_word else whole


def beside(item: Item, source: Path, kind: str, *, with_ending: bool = False) -> Path:
    """The path of a sidecar: ``photo.jpg`` -> ``photo.txt``, page 3 of ``report.pdf`` -> ``report.page3.txt``.

    Where a ``photo.jpg.xmp`` lies, as darktable, digiKam and Immich name theirs, that one is it.

    Args:
        item: the input, which may be about a part of its file.
        source: the file.
        kind: the ending of the sidecar.
        with_ending: keep the file's own ending as well, ``photo.jpg.txt``: there is a ``photo.png``, too.
    """
    if kind == "xmp" and item.part is None:
        of_others = source.with_name(f"{source.name}.xmp")
        if false_on_oserror(of_others.exists):
            return of_others
    part = f".{item.part.fragment.replace('=', '')}" if item.part else ""
    return source.with_name(f"{source.name if with_ending else source.stem}{part}.{kind}")


class Sidecars:
    """Writes sidecars as rows come. Images that are no files of this machine have none.

    Args:
        style: how they look.
        journal: the rows of earlier runs.
        files: those of the inputs that are known before the run. Where several have one name and other endings, their
            sidecars keep the endings; of those that come to be known only later the first one's does not.

    Attributes:
        n_written: how many.
        n_failed: those that cannot be written, and XMP files that are there and cannot be read.
        on_problem: told of each of these, in a line.
        with_ending: one of those whose name keeps the image's ending, if there is any.
    """

    def __init__(self, style: SidecarStyle, journal: Journal, files: Iterable[Path] = ()) -> None:
        self._style = style
        self._journal = journal
        self.n_written = 0
        self.n_failed = 0
        self.on_problem: Callable[[str], None] = lambda _text: None
        self.with_ending: Path | None = None
        self._owners: dict[Path, tuple[Path, str]] = {}
        self._shared = _shared_names(files)

    def __call__(self, item: Item, row: Row | None) -> None:
        """Write the sidecar of a row.

        Raises:
            OutputError: the disk is full, or fails.
        """
        source = item.sources[0] if item.sources else None
        if not isinstance(source, Path):
            return
        is_shared = _stem(source) in self._shared
        target = beside(item, source, self._style.kind, with_ending=is_shared)
        if self._style.existing == "overwrite" and (row is None or row["error"] is None):
            other, _ = self._owners.setdefault(target, (source, item.id))
            is_shared |= other != source
            target = beside(item, source, self._style.kind, with_ending=is_shared)
            _, owner = self._owners.setdefault(target, (source, item.id))
            if owner != item.id:
                self._fail(f"{shown(target)}: belongs to {owner}")
                return
        if is_shared:
            self.with_ending = self.with_ending or target
        try:
            with as_target_error(shown(target)):
                if leads_out(item, target):
                    raise TargetError(f"{shown(target)}: a link leads out of the folder")
                self._consider(item, row, target)
        except Damaged as error:
            self._fail(f"{shown(target)}: {error}")
        except TargetError as error:
            self._fail(str(error))

    def has_one(self, item: Item) -> bool:
        """Whether there is a sidecar of an input already."""
        source = item.sources[0] if item.sources else None
        if not isinstance(source, Path):
            return False
        is_shared = _stem(source) in self._shared
        places = [beside(item, source, self._style.kind, with_ending=ending) for ending in {False, is_shared}]
        return any(false_on_oserror(place.exists) for place in places)

    def _fail(self, text: str) -> None:
        self.n_failed += 1
        self.on_problem(f"not written: {text}")

    def _consider(self, item: Item, row: Row | None, target: Path) -> None:
        if row is None:  # the row was there before: so is its sidecar, unless the run was ended in between
            place = self._journal.index.place_of_id(item.id)
            if place is None or (target.exists() and not self._lacks_answer(target)):
                return
            row = self._journal.read(place)
        if row["error"] is None and not (self._style.existing == "skip" and target.exists()):
            self._write(target, row)

    def _lacks_answer(self, target: Path) -> bool:
        """Whether others' XMP file is there, and what a run was ended before is not in it."""
        if self._style.kind != "xmp" or self._style.existing == "skip" or not target.is_file():
            return False
        before = target.read_bytes()
        return not keywords(before) if self._style.keywords else description(before) is None

    def _write(self, target: Path, row: Row) -> None:
        if os.path.lexists(target) and not target.is_file():
            raise TargetError(f"{shown(target)}: not a regular file")
        before = target.read_bytes() if target.exists() else b""
        data = self._packet(before, row) if self._style.kind == "xmp" else self._lines(before, row)
        with replacing_durably(target) as file:
            file.write(data)
        self.n_written += 1

    def _packet(self, before: bytes, row: Row) -> bytes:
        if self._style.keywords:
            words = keywords_in(row["answer"])
            if not words:
                raise Damaged("the answer is no list of keywords")
            return described(before, words)
        old = description(before) if self._style.existing == "append" else None
        text = self._style.text(row["answer"])
        return described(before, text if not old else f"{old}\n{text}")

    def _lines(self, before: bytes, row: Row) -> bytes:
        new = self._text(row).encode("utf-8", "surrogateescape")
        if self._style.existing != "append":
            return new
        return before + (b"" if before.endswith(b"\n") or not before else b"\n") + new

    def _text(self, row: Row) -> str:
        if self._style.kind == "json":
            return json.dumps(row | {"answer": self._style.text(row["answer"])}, ensure_ascii=False) + "\n"
        return self._style.text(row["answer"]) + "\n"


def _stem(file: Path) -> tuple[str, bool]:
    """A path without its ending; documents have sidecars of other names than images."""
    return os.path.splitext(file)[0], is_document_name(file.name)  # noqa: PTH122 - pathlib's takes three times as long


def _shared_names(files: Iterable[Path]) -> frozenset[tuple[str, bool]]:
    seen, shared = set(), set()
    for file in files:
        stem = _stem(file)
        if stem in seen:
            shared.add(stem)
        seen.add(stem)
    return frozenset(shared)
