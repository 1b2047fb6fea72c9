"""Two programs in turn: what else the machine does hits both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ggufvlm.tools.bench.job import Say
from ggufvlm.tools.bench.results import Ratio

Side = Callable[[int], Mapping[str, float]]
"""Does the work once and says how long it took, by what was timed. It gets the number of the run; 0 does not count."""


def seconds_of(work: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def set_against(against: str, ours: Side, theirs: Side, *, unit: str, repeat: int, say: Say) -> list[Ratio]:
    """Run both sides alternately; a ratio for each thing that both have timed.

    Args:
        against: what theirs is called.
        ours, theirs: the sides.
        unit: of what they say; less is better.
        repeat: pairs that count, after one that does not.
        say: told what runs.
    """
    pairs: list[tuple[Mapping[str, float], Mapping[str, float]]] = []
    for index in range(repeat + 1):
        say(f"against {against}: ours, {index} of {repeat}")
        mine = ours(index)
        say(f"against {against}: theirs, {index} of {repeat}")
        pairs.append((mine, theirs(index)))
    counted = pairs[1:]
    return [
        Ratio.of(name, against, unit, [mine[name] for mine, _ in counted], [other[name] for _, other in counted])
        for name in counted[0][0]
        if name in counted[0][1]
    ]
