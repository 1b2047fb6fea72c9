"""Parquet, through pyarrow."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.writers.flat import FLAT_COLUMNS, flat
from ggufvlm.errors import MissingExtra
from ggufvlm.files import replacing_durably

_ROWS_AT_A_TIME = 5_000


def require_pyarrow() -> None:
    """Raises: MissingExtra, it is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "parquet")


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows in one step: the file is the old or the new one, never half of it.

    Raises:
        MissingExtra: without pyarrow.
        OutputError: it cannot be written.
    """
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in FLAT_COLUMNS.items()])
    remaining = map(flat, rows)
    with (
        as_output_error(shown(path)),
        replacing_durably(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        while some := list(islice(remaining, _ROWS_AT_A_TIME)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
