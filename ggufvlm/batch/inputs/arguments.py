"""Arguments of a run -> its inputs: files, folders, patterns, URLs, tables, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from ggufvlm.batch.inputs.cells import Columns, item_of
from ggufvlm.batch.inputs.expand import DocumentReading, expand, kind_of_file, n_parts, require_readers
from ggufvlm.batch.inputs.tables import NotATable, Row, Table, is_table, read_mixed_lines, read_null_separated
from ggufvlm.batch.inputs.walk import Filter, FoundFile, regular, walk
from ggufvlm.batch.item import Item, false_on_oserror, shown
from ggufvlm.errors import GGUFVLMError, ImageError, InputError, UsageError
from ggufvlm.media.decoding.formats import is_document_name, may_be_scan_name, may_be_video_name
from ggufvlm.media.decoding.kinds import FileKind
from ggufvlm.media.sources.data_uri import is_data_uri
from ggufvlm.media.sources.labels import label, url_label
from ggufvlm.media.sources.read import expand_user, is_file_url, is_url, local_path

STDIN = "-"
_COUNTED_AHEAD = 100
"""PDFs, TIFFs and videos that are opened before the run to tell how many rows they become; others in their turn."""


class Inputs:
    """Everything that is to be asked about. Iterate once: standard input cannot be read again.

    A file that several arguments name is one input; rows of tables are one input each, whatever they say.

    PDFs, scans and videos become an input for each page or frame when it is their turn, or stay one input.

    Args:
        arguments: files, folders (with all below them), patterns (``**`` too), URLs, data URIs, ``.csv``, ``.tsv``,
            ``.jsonl`` and ``.parquet`` tables, ``-`` for a path or a JSON object on each line of standard input.
        wanted: which files of folders and patterns to take.
        columns: which columns of tables to use.
        reading: what to take of documents and videos.
        null_separated: paths of standard input have NUL characters between them, and not ends of lines.

    Attributes:
        count: how many, as far as that is known; ``None`` if only their end will tell.

    Raises:
        ImageError: an argument that does not exist, a folder or pattern without images.
        UsageError, InputError, MissingExtra: a table that cannot be used, pages chosen where there is no PDF, columns
            named where there is no table.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        wanted: Filter | None = None,
        columns: Columns | None = None,
        reading: DocumentReading | None = None,
        *,
        null_separated: bool = False,
    ) -> None:
        self._is_alone = len(arguments) == 1
        self._read_stdin = read_null_separated if null_separated else read_mixed_lines
        if null_separated and STDIN not in arguments:
            raise UsageError("--null is about paths on stdin", hint="find . -print0 | ggufvlm batch - --null")
        self._wanted = wanted or Filter()
        self._reading = reading or DocumentReading()
        self._columns = columns or Columns()
        self._parts: list[list[FoundFile] | str | Table] = []
        if arguments.count(STDIN) > 1:
            raise UsageError("- can be given once: there is one stdin")
        seen: set[Path] = set()
        for argument in arguments:
            part = self._part(argument)
            if isinstance(part, list):
                part = [found for found in part if _absolute(found.path) not in seen]
                seen.update(_absolute(found.path) for found in part)
            self._parts.append(part)
        self._check_selection()
        self._check_columns()
        require_readers(shown(path) for path in self._files())
        documents = filter(_may_be_document, self._files())
        self._counted = {path: n_parts(path, self._reading) for path in islice(documents, _COUNTED_AHEAD)}
        self.count = self._count()

    def _check_columns(self) -> None:
        columns = self._columns
        is_named = any((columns.image, columns.prompt, columns.system, columns.id))
        if is_named and not any(part == STDIN or isinstance(part, Table) for part in self._parts):
            raise UsageError("columns are named, and there is no table")

    @property
    def known_fields(self) -> frozenset[str] | None:
        """Columns that at least one row may have; ``None`` where only the rows can tell."""
        names: set[str] = set()
        for part in self._parts:
            if part == STDIN or (isinstance(part, Table) and part.columns is None):
                return None
            if isinstance(part, Table):
                names.update(part.columns or ())
        return frozenset(names)

    @property
    def tables(self) -> list[Path]:
        """The tables and lists that are read while the run goes on."""
        return [part.path for part in self._parts if isinstance(part, Table)]

    @property
    def files(self) -> Iterator[Path]:
        """The files that are known before the run: named, and found in folders."""
        return self._files()

    def __iter__(self) -> Iterator[Item]:
        seen: Counter[str] = Counter()
        for item in self._items():
            seen[item.id] += 1
            number = seen[item.id]
            numbered = item if number == 1 else replace(item, id=f"{item.id}#{number}")
            yield from expand(numbered, self._reading, partial(self._found, item))

    def _found(self, item: Item, n_rows: int) -> None:
        if self.count is not None:
            source = item.sources[0]
            self.count += n_rows - (self._counted.get(source, 1) if isinstance(source, Path) else 1)

    def _items(self) -> Iterator[Item]:
        for part in self._parts:
            if isinstance(part, list):
                yield from map(_of_file, part)
            elif isinstance(part, Table):
                yield from self._rows(part, part.path.parent, part.name)
            elif part == STDIN:
                yield from self._rows(self._read_stdin(_stdin()), Path(), "stdin")
            else:
                name = url_label(part) if is_url(part) else label(part)
                yield Item(id=name, path=name, sources=(part,))

    def _rows(self, rows: Iterable[Row], folder: Path, name: str) -> Iterator[Item]:
        for number, row in enumerate(rows, 1):
            origin = f"{name}:{number}"
            if isinstance(row, GGUFVLMError):
                yield Item(id=origin, path=None, sources=(), error=row)
            else:
                yield item_of(row, self._columns, folder=folder, origin=origin)

    def _part(self, argument: str) -> list[FoundFile] | str | Table:
        if argument == STDIN or is_url(argument) or is_data_uri(argument):
            return argument
        path = (local_path(argument) if is_file_url(argument) else None) or expand_user(argument)
        if false_on_oserror(path.is_dir):
            return self._some(list(walk(path, self._wanted)), argument)
        if is_table(path) and false_on_oserror(path.is_file):
            try:
                table = Table(path)
            except NotATable as error:
                if self._is_alone:
                    raise
                return [FoundFile(path, error)]  # photos/* may hold one
            if table.columns is not None:
                self._columns.of(table.columns, where=table.name)
            return table
        if os.path.lexists(path):
            return [FoundFile(path)]
        if glob.has_magic(argument):
            return self._some(list(self._matching(os.fspath(path))), argument)
        raise ImageError(f"no such image, folder or table: {label(argument)}")

    def _matching(self, pattern: str) -> Iterator[FoundFile]:
        for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - pathlib's stops at links
            path = Path(name)
            if false_on_oserror(path.is_dir):
                yield from walk(path, self._wanted) if "**" not in pattern else ()
            elif self._wanted.takes(path, path.parent):
                yield regular(path)

    def _some(self, found: list[FoundFile], argument: str) -> list[FoundFile]:
        if not found:
            raise ImageError(f"{label(argument)}: no images there", hint="--include takes files of other endings")
        return found

    def _count(self) -> int | None:
        if STDIN in self._parts:
            return None
        n_inputs = sum(len(part) if isinstance(part, (list, Table)) else 1 for part in self._parts)
        return n_inputs + sum(self._counted.values()) - len(self._counted)

    def _files(self) -> Iterator[Path]:
        for part in self._parts:
            if isinstance(part, list):
                yield from (found.path for found in part if found.error is None)

    def _check_selection(self) -> None:
        """Refuse a choice of pages or frames that can be for nothing."""
        selection = self._reading.selection
        wants_frames = selection.every is not None or selection.frames is not None or selection.scenes
        if selection.pages is None and not wants_frames and not self._reading.whole:
            return
        if not all(isinstance(part, list) for part in self._parts):
            return  # only the rows can tell
        kinds = {kind_of_file(path) for path in self._files()}
        if selection.pages is not None and not kinds & {FileKind.PDF, FileKind.SCAN}:
            raise UsageError("pages are chosen, and there is no PDF and no TIFF of several pages")
        if wants_frames and FileKind.VIDEO not in kinds:
            raise UsageError("frames are chosen, and there is no video")
        if self._reading.whole and kinds <= {FileKind.IMAGE}:
            raise UsageError("--whole is for PDFs, TIFFs of several pages and videos, and there is none")


def _may_be_document(path: Path) -> bool:
    return is_document_name(path.name) or may_be_video_name(path.name) or may_be_scan_name(path.name)


def _of_file(found: FoundFile) -> Item:
    name = shown(found.path)
    return Item(id=name, path=name, sources=(found.path,), error=found.error, below=found.below)


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _stdin() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("<stdin>: nothing is piped in", hint="for example: find . -name '*.jpg' | ggufvlm batch -")
    return sys.stdin.buffer
