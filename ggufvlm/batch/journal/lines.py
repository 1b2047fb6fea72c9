"""A line of a journal -> the row in it; what became of it where the disk has changed a byte, and what never was one."""

from __future__ import annotations

import json
import re
from typing import Any

from ggufvlm.batch.journal.rows import COLUMNS, NEWER, ON_REQUEST, Row

_OLDER = COLUMNS.keys() - NEWER
_HASH = re.compile("[0-9a-f]{64}")
_HASHES = re.compile("(?:[0-9a-f]{64}(?: [0-9a-f]{64})*)?")
_LARGEST = 2**63
_NUMBERS = tuple(name for name, kind in COLUMNS.items() if kind in (int, float))
_NAMES = tuple(f'"{name}":'.encode() for name in _OLDER)


def parsed(line: bytes) -> Row | None:
    """The row in a line, of this version or an earlier one; ``None`` if there is none, or not a whole one."""
    try:
        row = json.loads(line)
        if b"\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half a pair of surrogates can be written nowhere
    except (ValueError, RecursionError):
        return None
    return row if _is_row(row) else None


def was_row(line: bytes) -> bool:
    """Whether a line without a sound row looks like what is left of one."""
    return not line.strip() or sum(name in line for name in _NAMES) * 2 > len(_NAMES)


def is_json(line: bytes) -> bool:
    """Whether a line is sound JSON: nothing that damage makes of a row, unless it still looks like one."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not row.keys() >= _OLDER or len(row.keys() & NEWER) not in (0, len(NEWER)):
        return False
    for name, kind in (COLUMNS | ON_REQUEST).items():
        value = row.get(name)
        if value is not None and type(value) is not kind and not _fits(value, kind):
            return False
    return (
        isinstance(row["id"], str)
        and _is_error(row["error"])
        and all(-_LARGEST < (row.get(name) or 0) < _LARGEST for name in _NUMBERS)
        and (not row["key"] or _HASH.fullmatch(row["key"]) is not None)
        and (not row["files"] or _HASHES.fullmatch(row["files"]) is not None)
    )


def _fits(value: Any, kind: type) -> bool:
    """Whether a value of another type than its column's can stand there: 1 for 1.0."""
    return kind is float and type(value) is int


def _is_error(error: Any) -> bool:
    return error is None or all(isinstance(error.get(name), str) for name in ("class", "text"))
