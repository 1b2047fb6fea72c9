"""A line of a journal -> the row in it; what became of it where the disk has changed a byte, and what never was one."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ggufvlm.batch.journal.rows import COLUMNS, NEWER, Row

_OLDER = COLUMNS.keys() - NEWER
_HASH = re.compile("[0-9a-f]{64}")
_HASHES = re.compile("(?:[0-9a-f]{64}(?: [0-9a-f]{64})*)?")
_LARGEST = 2**63
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
    return (
        isinstance(row["id"], str)
        and all(_fits(row.get(name), kind) for name, kind in COLUMNS.items())
        and (not row["key"] or _HASH.fullmatch(row["key"]) is not None)
        and (not row["files"] or _HASHES.fullmatch(row["files"]) is not None)
    )


def _fits(value: Any, kind: type) -> bool:
    if value is None:
        return True
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("class", "text"))
    if kind is str:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST if isinstance(value, int) else kind is float and math.isfinite(value)
