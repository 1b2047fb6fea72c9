"""CSV, and TSV by its ending: UTF-8, a header line, quotes where needed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from ggufvlm.batch.item import shown
from ggufvlm.batch.journal.durable_write import as_output_error
from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.writers.flat import FLAT_COLUMNS, flat
from ggufvlm.files import replacing_durably


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows in one step: the file is the old or the new one, never half of it.

    Raises:
        OutputError: it cannot be written.
    """
    with as_output_error(shown(path)), replacing_durably(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(
            text, FLAT_COLUMNS, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(map(flat, rows))
        text.flush()
        text.detach()
