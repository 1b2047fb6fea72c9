"""CSV, TSV, JSONL and Parquet files, read row by row."""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from ggufvlm.batch.inputs.cells import readable
from ggufvlm.batch.item import false_on_oserror, shown
from ggufvlm.errors import GGUFVLMError, InputError, MissingExtra, UsageError

Row: TypeAlias = "Mapping[str, Any] | GGUFVLMError"
_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq", ".txt", ".xlsx", ".xls", ".ods")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 4096  # bytes
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""A first line by which Excel tells its delimiter."""
_LARGEST_CELL = 2**31 - 1  # characters: images in base64
_LONGEST_LINE = 256 << 20  # bytes: some devices never end a line
_AT_A_TIME = 32  # rows of a Parquet file, which may hold whole images


class NotATable(UsageError):  # noqa: N818 - reads as what it is
    """A file that holds a table in a form that is not read."""


def is_table(path: Path) -> bool:
    """Whether a file is a table or a list, by its ending; a ``.txt`` also has to be text."""
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES and (suffix != ".txt" or _is_text(path))


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_UTF16) or not head.translate(None, bytes(range(32, 256)) + b"\t\r\n\f")


class Table:
    """A table file. Rows that cannot be read come as errors.

    Attributes:
        columns: their names, ``None`` where every row may have others.

    Raises:
        InputError: it cannot be opened, or is not what its ending says.
        NotATable: a spreadsheet.
        MissingExtra: Parquet without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = shown(path)
        kind = path.suffix.lower()
        if kind in _SPREADSHEETS:
            raise NotATable(f"{self.name}: a spreadsheet's own format: save it as CSV")
        self._is_parquet, self._is_json = kind in (".parquet", ".pq"), kind in (".jsonl", ".ndjson")
        self._delimiter = "\t" if kind in (".tsv", ".tab") else None
        self._is_list = kind == ".txt"
        self._encoding = "utf-8-sig" if self._is_parquet else self._detected_encoding()
        self.columns = None if self._is_json or self._is_list else tuple(self._header())

    def __iter__(self) -> Iterator[Row]:
        if self._is_parquet:
            yield from self._parquet_rows()
            return
        try:
            if self._is_list:
                with self._open() as file:
                    yield from ({"image": line.rstrip("\r\n")} for line in file if line.strip())
            elif self._is_json:
                with self._open() as file:
                    yield from read_json_lines(file)
            else:
                yield from self._csv_rows()
        except (OSError, UnicodeError) as error:
            yield InputError(f"{self.name}: cannot be read to its end ({getattr(error, 'strerror', None) or error})")

    def __len__(self) -> int:
        if self._is_parquet:
            return max(0, int(self._parquet().metadata.num_rows))
        return sum(1 for _ in self)

    def _header(self) -> Iterable[str]:
        if self._is_parquet:
            with self._parquet_errors():
                return list(self._parquet().schema_arrow.names)
        with self._open() as file:
            try:
                return [readable(name) for name in next(self._reader(file), [])]
            except (csv.Error, OSError, UnicodeError) as error:
                raise InputError(f"{self.name}: {error}") from error

    def _csv_rows(self) -> Iterator[Row]:
        with self._open() as file:
            reader = self._reader(file)
            header = [readable(name) for name in next(reader, [])]
            while True:
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield InputError(f"{self.name}: line {reader.line_num}: {error}")
                    continue
                if cells is None:
                    return
                while len(cells) > len(header) and not cells[-1].strip():
                    del cells[-1]  # spreadsheets end their rows with empty cells
                if len(cells) > len(header):
                    yield InputError(f"{self.name}: line {reader.line_num}: {len(cells)} cells, not {len(header)}")
                elif any(cell.strip() for cell in cells):
                    yield dict(zip(header, cells, strict=False))

    def _reader(self, file: IO[str]) -> Any:
        csv.field_size_limit(_LARGEST_CELL)
        with self._open() as start:
            first = start.readline()
        told = _SEPARATOR.fullmatch(first)
        if told:
            file.readline()
        guessed = told[1] if told else max(",;\t", key=first.count)
        return csv.reader(file, delimiter=self._delimiter or guessed)

    def _detected_encoding(self) -> str:
        try:
            with self.path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        if head.startswith(_UTF16):
            return "utf-16"
        if b"\0" in head:
            raise InputError(f"{self.name}: not text, or UTF-16 without its mark", hint="save it as UTF-8")
        return "utf-8-sig"

    def _open(self) -> IO[str]:
        try:
            # names of files need not be UTF-8
            errors = "strict" if self._encoding == "utf-16" else "surrogateescape"
            return self.path.open(encoding=self._encoding, errors=errors, newline="")
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror or error})") from error

    def _parquet(self) -> Any:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtra(f"{self.name}: Parquet", "parquet") from error
        with self._parquet_errors():
            return pq.ParquetFile(self.path)

    def _parquet_rows(self) -> Iterator[Row]:
        """Rows group by group: a damaged group is one error, and the others are read."""
        file = self._parquet()
        for group in range(file.num_row_groups):
            try:
                with self._parquet_errors():
                    for batch in file.iter_batches(batch_size=_AT_A_TIME, row_groups=[group]):
                        yield from batch.to_pylist()
            except InputError as error:
                yield InputError(f"{error}; rows of group {group + 1} of {file.num_row_groups} are missing")

    @contextmanager
    def _parquet_errors(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise InputError(f"{self.name}: damaged, or no Parquet: {reason}") from error


def read_json_lines(lines: Iterable[str]) -> Iterator[Row]:
    """Rows of JSON objects, one a line; a line with a string is an image."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _json_row(line, number)


def _json_row(line: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        return InputError(f"line {number} is not JSON: {error}")
    except RecursionError:
        return InputError(f"line {number} is nested too deeply")
    if isinstance(row, str):
        row = {"image": row}
    return row if isinstance(row, dict) else InputError(f"line {number} is no JSON object")


def read_mixed_lines(lines: IO[bytes]) -> Iterator[Row]:
    """Rows from standard input: JSON objects or plain paths, one a line. An existing file of the line's name wins.

    Raises:
        InputError: these are no lines but an image, or paths with NUL characters between them.
    """
    for number, data in enumerate(iter(lambda: lines.readline(_LONGEST_LINE), b""), 1):
        if len(data) == _LONGEST_LINE:
            raise InputError(f"<stdin>: line {number} has more than {_LONGEST_LINE >> 20} MiB")
        if b"\0" in data or data.startswith(b"\x89PNG"):
            hint = "one path a line, or --null; an image itself goes to: ggufvlm describe -"
            raise InputError("<stdin>: no list of images", hint=hint)
        line = data.rstrip(b"\r\n")
        if number == 1 and not _exists(line):
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        if line.lstrip()[:1] == b"{" and not _exists(line):
            yield _json_row(line.decode("utf-8", "surrogateescape"), number)
        else:
            yield {"image": os.fsdecode(line)}


def read_null_separated(stream: IO[bytes]) -> Iterator[Row]:
    """Rows from standard input: paths with NUL characters between them, as ``find -print0`` gives them.

    Raises:
        InputError: a piece longer than any path.
    """
    rest = b""
    while data := stream.read(_HEAD):
        *whole, rest = (rest + data).split(b"\0")
        yield from ({"image": os.fsdecode(path)} for path in whole if path)
        if len(rest) > _LONGEST_LINE:
            raise InputError("<stdin>: no list of paths with NUL characters between them")
    if rest:
        yield {"image": os.fsdecode(rest)}


def _exists(name: bytes) -> bool:
    return false_on_oserror(Path(os.fsdecode(name)).exists)
