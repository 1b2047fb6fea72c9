"""Rows -> CSV, TSV and Parquet, made from the journal when a run ends."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.rows import COLUMNS, ON_REQUEST, Row
from ggufvlm.errors import MissingExtra, UsageError
from ggufvlm.files import replacing_durably

Writer = Callable[[Path, Iterable[Row]], None]

_FLAT_COLUMNS: dict[str, type] = {
    "id": str,
    "answer": str,
    **{name: kind for name, kind in COLUMNS.items() if kind is not dict},
    "error_class": str,
    "error_text": str,
}
"""The columns of formats without values inside values, answers first: the error of a row takes two."""

_KNOWN_COLUMNS = _FLAT_COLUMNS | ON_REQUEST

_ROWS_AT_A_TIME = 5_000
_FORMULA = frozenset("=+-@\t\r")
"""Spreadsheets take a cell that begins so for a formula (OWASP, CSV Injection)."""


def parse_columns(given: str) -> tuple[str, ...]:
    """The columns that ``a,b,c`` names, in this order.

    Raises:
        UsageError: none, or one that does not exist.
    """
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = next((name for name in names if name not in _KNOWN_COLUMNS), None)
    if unknown is None and names:
        return names
    close = get_close_matches(unknown or "", _KNOWN_COLUMNS, n=1)
    there = ", ".join(_KNOWN_COLUMNS)
    hint = f"did you mean {close[0]}?" if close else f"there are: {there}"
    raise UsageError(f"--columns {given}: no column {unknown!r}" if unknown else "--columns: none is named", hint=hint)


def with_reasoning(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a run that is to keep thoughts: those that were chosen, or all, with thoughts behind answers."""
    if columns:
        return tuple(dict.fromkeys((*columns, *ON_REQUEST)))
    first, second, *others = _FLAT_COLUMNS
    return first, second, *ON_REQUEST, *others


def write_csv(path: Path, rows: Iterable[Row], *, safe: bool = False, columns: Sequence[str] = ()) -> None:
    """Write rows as CSV, or as TSV by the path's ending: UTF-8, a header line, quotes where needed.

    The file is the old or the new one, never half of it.

    Args:
        path: of the file.
        rows: in their order.
        safe: put an apostrophe before texts that a spreadsheet would compute.
        columns: which, in their order; all of them if none is named.

    Raises:
        OutputError: it cannot be written.
    """
    with as_output_error(shown(path)), replacing_durably(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        names = columns or tuple(_FLAT_COLUMNS)
        writer = csv.DictWriter(text, names, extrasaction="ignore", delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        flat = map(_flat, rows)
        writer.writerows(map(_computing_nothing, flat) if safe else flat)
        text.flush()
        text.detach()


def _computing_nothing(row: Row) -> Row:
    return {
        name: f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value for name, value in row.items()
    }


def write_parquet(path: Path, rows: Iterable[Row], *, columns: Sequence[str] = ()) -> None:
    """Write rows as Parquet; the file is the old or the new one, never half of it.

    Args:
        path: of the file.
        rows: in their order.
        columns: which, in their order; all of them if none is named.

    Raises:
        MissingExtra: pyarrow is not installed.
        OutputError: it cannot be written.
    """
    _require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[_KNOWN_COLUMNS[name]]) for name in columns or _FLAT_COLUMNS])
    remaining = map(_flat, rows)
    with (
        as_output_error(shown(path)),
        replacing_durably(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        while some := list(islice(remaining, _ROWS_AT_A_TIME)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


_WRITERS: dict[str, Callable[..., None] | None] = {
    ".jsonl": None,
    ".ndjson": None,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
}


def find_writer(path: Path, *, csv_safe: bool = False, columns: Sequence[str] = ()) -> Writer | None:
    """The function that makes an output from the journal; ``None`` where the journal is the output.

    Args:
        path: of the output.
        csv_safe: put an apostrophe before texts of CSV and TSV that a spreadsheet would compute.
        columns: of CSV, TSV and Parquet, in their order; all of them if none is named.

    Raises:
        UsageError: the path's ending names no format, or one that knows nothing of what is wanted.
        MissingExtra: Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(f"{path.name}: cannot write this format", hint=f"the output ends in {', '.join(_WRITERS)}")
    if suffix == ".parquet":
        _require_pyarrow()
    writer = _WRITERS[suffix]
    if columns and writer is None:
        raise UsageError(f"{path.name}: --columns is for CSV, TSV and Parquet", hint="-o captions.csv")
    if csv_safe and writer is not write_csv:
        raise UsageError(f"{path.name}: --csv-safe is for CSV and TSV", hint="-o captions.csv")
    if writer is None:
        return None
    return partial(writer, columns=columns, **({"safe": True} if csv_safe else {}))


def journal_path(path: Path) -> Path:
    """Where the rows of an output are kept while it is made."""
    return path if find_writer(path) is None else path.with_name(f"{path.name}.journal.jsonl")


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "parquet")


def _flat(row: Row) -> Row:
    """The row with its error in two columns."""
    error = row["error"] or {"class": None, "text": None}
    values = {name: row[name] for name in _KNOWN_COLUMNS if name in row}
    return values | {"error_class": error["class"], "error_text": error["text"]}
