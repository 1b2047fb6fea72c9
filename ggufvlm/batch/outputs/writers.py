"""Rows -> CSV, TSV and Parquet, made from the journal when a run ends."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.rows import COLUMNS, Row
from ggufvlm.errors import MissingExtra, UsageError
from ggufvlm.files import replacing_durably

Writer = Callable[[Path, Iterable[Row]], None]

_FLAT_COLUMNS: dict[str, type] = {
    **{name: kind for name, kind in COLUMNS.items() if kind is not dict},
    "error_class": str,
    "error_text": str,
}
"""The columns of formats without values inside values: the error of a row takes two."""

_ROWS_AT_A_TIME = 5_000
_FORMULA = frozenset("=+-@\t\r")
"""Spreadsheets take a cell that begins so for a formula (OWASP, CSV Injection)."""


def write_csv(path: Path, rows: Iterable[Row], *, safe: bool = False) -> None:
    """Write rows as CSV, or as TSV by the path's ending: UTF-8, a header line, quotes where needed.

    The file is the old or the new one, never half of it.

    Args:
        path: of the file.
        rows: in their order.
        safe: put an apostrophe before texts that a spreadsheet would compute.

    Raises:
        OutputError: it cannot be written.
    """
    with as_output_error(shown(path)), replacing_durably(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        writer = csv.DictWriter(text, _FLAT_COLUMNS, delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        flat = map(_flat, rows)
        writer.writerows(map(_computing_nothing, flat) if safe else flat)
        text.flush()
        text.detach()


def _computing_nothing(row: Row) -> Row:
    return {
        name: f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value for name, value in row.items()
    }


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as Parquet; the file is the old or the new one, never half of it.

    Raises:
        MissingExtra: pyarrow is not installed.
        OutputError: it cannot be written.
    """
    _require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in _FLAT_COLUMNS.items()])
    remaining = map(_flat, rows)
    with (
        as_output_error(shown(path)),
        replacing_durably(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        while some := list(islice(remaining, _ROWS_AT_A_TIME)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


_WRITERS: dict[str, Writer | None] = {
    ".jsonl": None,
    ".ndjson": None,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
}


def find_writer(path: Path, *, csv_safe: bool = False) -> Writer | None:
    """The function that makes an output from the journal; ``None`` where the journal is the output.

    Args:
        path: of the output.
        csv_safe: put an apostrophe before texts of CSV and TSV that a spreadsheet would compute.

    Raises:
        UsageError: the path's ending names no format, or is not that of CSV or TSV where these are to be safe.
        MissingExtra: Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(f"{path.name}: cannot write this format", hint=f"the output ends in {', '.join(_WRITERS)}")
    if suffix == ".parquet":
        _require_pyarrow()
    writer = _WRITERS[suffix]
    if not csv_safe:
        return writer
    if writer is not write_csv:
        raise UsageError(f"{path.name}: --csv-safe is for CSV and TSV", hint="-o captions.csv")
    return partial(write_csv, safe=True)


def journal_path(path: Path) -> Path:
    """Where the rows of an output are kept while it is made."""
    return path if find_writer(path) is None else path.with_name(f"{path.name}.journal.jsonl")


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "parquet")


def _flat(row: Row) -> Row:
    """The row with its error in two columns."""
    error = row["error"] or {"class": None, "text": None}
    values = {name: row[name] for name in _FLAT_COLUMNS if name in row}
    return values | {"error_class": error["class"], "error_text": error["text"]}
