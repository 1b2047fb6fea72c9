"""Numbers with their spread, and two numbers set against each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

Values = Mapping[str, Sequence[float]]
"""What each run measured, by result name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One thing that was measured ``n`` times.

    Attributes:
        name: see :mod:`ggufvlm.tools.bench`.
        unit: of the three numbers.
    """

    name: str
    unit: str
    median: float
    min: float
    max: float
    n: int

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float]) -> Measurement:
        """Sum up at least one value."""
        return cls(name=name, unit=unit, median=median(values), min=min(values), max=max(values), n=len(values))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The same work done by us and by another program, alternately.

    Attributes:
        against: the other program.
        ours, theirs: medians, in ``unit``; less is better.
        ratio, min, max: median, least and most of ours / theirs, pair by pair.
    """

    name: str
    against: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    min: float
    max: float
    n: int

    @classmethod
    def of(cls, name: str, against: str, unit: str, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Set values against those measured beside them."""
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        return cls(
            name=name,
            against=against,
            ours=median(ours),
            theirs=median(theirs),
            unit=unit,
            ratio=median(ratios),
            min=min(ratios),
            max=max(ratios),
            n=len(ratios),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


_UNITS = {
    "encode_image": "ms",
    "encode_1000_patches": "ms",
    "prefill": "tokens/s",
    "decode_N": "tokens/s",
    "llama_decode_N": "tokens/s",
    "overhead_N": "%",
    "first_token_cold": "s",
    "first_token_warm": "s",
    "first_token_disk": "s",
    "batch": "images/s",
    "memory_peak": "MB",
    "bandwidth": "GB/s",
    "decode_of_bandwidth": "%",
    "arithmetic": "GFLOP/s",
    "encode_of_arithmetic": "%",
}
_OF_LANES = ("decode_N", "llama_decode_N", "overhead_N")
_LANES = re.compile(r"\d+$")


def kind_of(name: str) -> str:
    """The name without its number of lanes: ``decode_N``."""
    return _LANES.sub("N", name)


def unit_of(name: str) -> str:
    """The unit of a result."""
    return _UNITS[kind_of(name)]


def sum_up(values: Values) -> list[Measurement]:
    """A result for each name that has values, in the order in which people read them."""
    results = [Measurement.of(name, unit_of(name), numbers) for name, numbers in values.items() if numbers]
    return sorted(results, key=lambda result: _rank(kind_of(result.name)))


def _rank(kind: str) -> int:
    """Place of a kind; all that belongs to one number of lanes stays together."""
    return list(_UNITS).index(_OF_LANES[0] if kind in _OF_LANES else kind)


def number(value: float) -> str:
    """Three digits that count: ``1,234``, ``12.3``, ``0.00123``."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.{2 if abs(value) < 10 else 1}f}"
