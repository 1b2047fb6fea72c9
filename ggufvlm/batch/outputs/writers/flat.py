"""Rows without values inside values."""

from __future__ import annotations

from ggufvlm.batch.journal.rows import COLUMNS, Row

FLAT_COLUMNS: dict[str, type] = {
    **{name: kind for name, kind in COLUMNS.items() if kind is not dict},
    "error_class": str,
    "error_text": str,
}


def flat(row: Row) -> Row:
    """The row with its error in two columns."""
    error = row["error"] or {"class": None, "text": None}
    values = {name: row[name] for name in FLAT_COLUMNS if name in row}
    return values | {"error_class": error["class"], "error_text": error["text"]}
