"""``5m``, ``30s``, ``1h30m``, ``-1``: lengths of time as Go and Ollama write them."""

from __future__ import annotations

import math
import re

from ggufvlm.errors import UsageError
from ggufvlm.server.contract import INDEFINITELY

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_LONGEST_TEXT = 100  # characters
_MOST = 10.0 * 366 * 86400


def parse_duration(value: str | float) -> float:
    """Seconds; a number without a unit is seconds, a negative one is :data:`~ggufvlm.server.contract.INDEFINITELY`.

    Raises:
        UsageError: it is no length of time.
    """
    seconds = _parse(value[:_LONGEST_TEXT].strip().lower()) if isinstance(value, str) else float(value)
    if not math.isfinite(seconds) or (isinstance(value, str) and len(value) > _LONGEST_TEXT):
        raise UsageError(f"not a length of time: {str(value)[:_LONGEST_TEXT]!r}; for example 30s, 5m or 1h30m")
    return INDEFINITELY if seconds < 0 else min(seconds, _MOST)


def _parse(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    plain = text.removeprefix("-")
    if _NUMBER.fullmatch(plain):
        return sign * float(plain)
    parts = _PART.findall(plain)
    if not parts or "".join(number + unit for number, unit in parts) != plain:
        return math.nan
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
