"""Arguments of a run -> its inputs: files, folders, patterns, URLs, tables, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ggufvlm.batch.cells import Columns, item_of
from ggufvlm.batch.item import Item, shown
from ggufvlm.batch.tables import Row, Table, is_table, read_mixed_lines
from ggufvlm.batch.walk import Filter, Found, walk
from ggufvlm.errors import GGUFVLMError, ImageError, InputError, UsageError
from ggufvlm.media.data_uri import is_data_uri
from ggufvlm.media.labels import label, url_label
from ggufvlm.media.sources import is_file_url, is_url, local_path

STDIN = "-"


class Inputs:
    """Everything that is to be asked about. Iterate once: standard input cannot be read again.

    A file that several arguments name is one input; rows of tables are one input each, whatever they say.

    Args:
        arguments: files, folders (with all below them), patterns (``**`` too), URLs, data URIs, ``.csv``, ``.tsv``,
            ``.jsonl`` and ``.parquet`` tables, ``-`` for a path or a JSON object on each line of standard input.
        wanted: which files of folders and patterns to take.
        columns: which columns of tables to use.

    Raises:
        ImageError: an argument that does not exist, a folder or pattern without pictures.
        UsageError, InputError, MissingExtra: a table that cannot be used.
    """

    def __init__(self, arguments: Sequence[str], wanted: Filter | None = None, columns: Columns | None = None) -> None:
        self._wanted = wanted or Filter()
        self._columns = columns or Columns()
        self._parts: list[list[Found] | str | Table] = []
        if arguments.count(STDIN) > 1:
            raise UsageError("- can be given once: there is one stdin")
        seen: set[Path] = set()
        for argument in arguments:
            part = self._part(argument)
            if isinstance(part, list):
                part = [found for found in part if _absolute(found[0]) not in seen]
                seen.update(_absolute(path) for path, _ in part)
            self._parts.append(part)
        self.count = self._count()

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

    def __iter__(self) -> Iterator[Item]:
        seen: Counter[str] = Counter()
        for item in self._items():
            seen[item.id] += 1
            number = seen[item.id]
            yield item if number == 1 else replace(item, id=f"{item.id}#{number}")

    def _items(self) -> Iterator[Item]:
        for part in self._parts:
            if isinstance(part, list):
                yield from map(_of_file, part)
            elif isinstance(part, Table):
                yield from self._rows(part, part.path.parent, part.name)
            elif part == STDIN:
                yield from self._rows(read_mixed_lines(_stdin()), Path(), "stdin")
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

    def _part(self, argument: str) -> list[Found] | str | Table:
        if argument == STDIN or is_url(argument) or is_data_uri(argument):
            return argument
        path = (local_path(argument) if is_file_url(argument) else None) or Path(argument).expanduser()
        if path.is_dir():
            return self._some(list(walk(path, self._wanted)), argument)
        if is_table(path) and path.is_file():
            table = Table(path)
            if table.columns is not None:
                self._columns.of(table.columns, where=table.name)
            return table
        if os.path.lexists(path):
            return [(path, None)]
        if glob.has_magic(argument):
            return self._some(list(self._matching(os.fspath(path))), argument)
        raise ImageError(f"no such image, folder or table: {label(argument)}")

    def _matching(self, pattern: str) -> Iterator[Found]:
        for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - pathlib's stops at links
            path = Path(name)
            if path.is_dir():
                yield from walk(path, self._wanted) if "**" not in pattern else ()
            elif self._wanted.takes(path, path.parent):
                yield path, None

    def _some(self, found: list[Found], argument: str) -> list[Found]:
        if not found:
            raise ImageError(f"{label(argument)}: no pictures there", hint="--include takes files of other endings")
        return found

    def _count(self) -> int | None:
        if STDIN in self._parts:
            return None
        return sum(len(part) if isinstance(part, (list, Table)) else 1 for part in self._parts)


def _of_file(found: Found) -> Item:
    path, error = found
    return Item(id=shown(path), path=shown(path), sources=(path,), error=error)


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _stdin() -> Iterable[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("<stdin>: nothing is piped in", hint="for example: find . -name '*.jpg' | ggufvlm batch -")
    return sys.stdin.buffer
