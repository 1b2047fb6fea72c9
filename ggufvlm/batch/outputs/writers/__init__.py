"""Rows -> CSV and Parquet, made from the journal when a run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.writers.csv_file import write_csv
from ggufvlm.batch.outputs.writers.parquet_file import require_pyarrow, write_parquet
from ggufvlm.errors import UsageError

Writer = Callable[[Path, Iterable[Row]], None]

_WRITERS: dict[str, Writer | None] = {
    ".jsonl": None,
    ".ndjson": None,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
}


def find_writer(path: Path) -> Writer | None:
    """What makes the output from the journal; ``None`` where the journal is the output.

    Raises:
        UsageError: an ending that names no format.
        MissingExtra: Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(f"{path.name}: cannot write this format", hint=f"the output ends in {', '.join(_WRITERS)}")
    if suffix == ".parquet":
        require_pyarrow()
    return _WRITERS[suffix]


def journal_path(path: Path) -> Path:
    """Where the rows of an output are kept while it is made."""
    return path if find_writer(path) is None else path.with_name(f"{path.name}.journal.jsonl")
