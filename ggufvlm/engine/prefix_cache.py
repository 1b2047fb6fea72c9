"""What each slot's KV cells hold, which slots share them, and how much of it begins a new prompt.

Pure: no clock, no llama.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ggufvlm.engine.sequence import Segment, TextSegment, append_tokens, count_cells


def common_prefix(kept: Sequence[Segment], wanted: Sequence[Segment]) -> list[Segment]:
    """The longest part that begins both, cut inside text if need be, never inside an image."""
    prefix: list[Segment] = []
    for have, want in zip(kept, wanted, strict=False):
        if have == want:
            prefix.append(want)
            continue
        if isinstance(have, TextSegment) and isinstance(want, TextSegment):
            same = 0
            for a, b in zip(have.tokens, want.tokens, strict=False):
                if a != b:
                    break
                same += 1
            append_tokens(prefix, want.tokens[:same])
        break
    return prefix


def reusable_prefix(kept: Sequence[Segment], wanted: Sequence[Segment]) -> list[Segment]:
    """The common prefix, less one token if it is the whole prompt: logits come only from a token that is computed."""
    prefix = common_prefix(kept, wanted)
    if prefix and count_cells(prefix) == count_cells(wanted):
        last = prefix.pop()
        if isinstance(last, TextSegment):
            append_tokens(prefix, last.tokens[:-1])
    return prefix


@dataclass(eq=False, slots=True)
class _Run:
    """Cells that the same slots hold. Two slots share cells if one run is in both."""

    n_cells: int
    n_holders: int = 0


class PrefixCache:
    """The contents of all slots. A slot that is not in use keeps its cells until they are evicted.

    A prefix copied from another slot takes no cells of its own: ``llama_memory_seq_cp`` marks those of the source.
    """

    def __init__(self, n_slots: int) -> None:
        self._contents: list[list[Segment]] = [[] for _ in range(n_slots)]
        self._runs: list[list[_Run]] = [[] for _ in range(n_slots)]
        self._last_use = [0] * n_slots
        self._n_uses = 0

    def contents(self, slot: int) -> list[Segment]:
        """The segments in a slot's cells, in order."""
        return self._contents[slot]

    @property
    def n_cells(self) -> int:
        """Cells in use over all slots, shared ones once."""
        return sum(run.n_cells for run in {id(run): run for runs in self._runs for run in runs}.values())

    def best_source(self, wanted: Sequence[Segment], slots: Iterable[int]) -> tuple[int, list[Segment]]:
        """The slot whose contents begin the prompt furthest, and that part of the prompt.

        Of equals the one with least to lose behind it.
        """
        candidates = [(slot, reusable_prefix(self._contents[slot], wanted)) for slot in slots]
        return max(candidates, key=lambda c: (count_cells(c[1]), -count_cells(self._contents[c[0]])))

    def least_recently_used(self, slots: Iterable[int]) -> int | None:
        """The slot with cells in it that has been left alone longest; ``None`` if all are empty."""
        return min((slot for slot in slots if self._contents[slot]), key=self._last_use.__getitem__, default=None)

    def use(self, slot: int) -> None:
        """Note that a slot is in use now."""
        self._n_uses += 1
        self._last_use[slot] = self._n_uses

    def cut(self, slot: int, prefix: Sequence[Segment]) -> None:
        """The slot's cells now end after ``prefix``, which begins its contents."""
        self._contents[slot] = list(prefix)
        self._hold(slot, self._first_runs(slot, count_cells(prefix)))

    def fill(self, slot: int, segments: Sequence[Segment]) -> None:
        """An empty slot got these segments at once, in cells of its own."""
        self._contents[slot] = list(segments)
        self._hold(slot, [_Run(count_cells(segments))] if segments else [])

    def copy(self, source: int, target: int, prefix: Sequence[Segment]) -> None:
        """The empty slot ``target`` now shares the cells of ``prefix``, which begins the contents of ``source``.

        Args:
            source: the slot that has the cells.
            target: an empty slot.
            prefix: the segments that are shared.
        """
        self._contents[target] = list(prefix)
        self._hold(target, self._first_runs(source, count_cells(prefix)))

    def append(self, slot: int, addition: Segment | Sequence[int]) -> None:
        """An image, or tokens, were computed into the slot."""
        segments = self._contents[slot]
        if isinstance(addition, Sequence):
            n_cells = len(addition)
            append_tokens(segments, addition)
        elif isinstance(addition, TextSegment):
            n_cells = addition.n_cells
            append_tokens(segments, addition.tokens)
        else:
            n_cells = addition.n_cells
            segments.append(addition)
        runs = self._runs[slot]
        if runs and runs[-1].n_holders == 1:
            runs[-1].n_cells += n_cells
        else:
            runs.append(_Run(n_cells, n_holders=1))

    def _hold(self, slot: int, runs: list[_Run]) -> None:
        for run in runs:
            run.n_holders += 1
        for run in self._runs[slot]:
            run.n_holders -= 1
        self._runs[slot] = runs

    def _first_runs(self, slot: int, n_cells: int) -> list[_Run]:
        """The runs of a slot's first cells; one that reaches further is split, wherever it is."""
        first: list[_Run] = []
        for run in self._runs[slot]:
            if n_cells <= 0:
                break
            if run.n_cells > n_cells:
                self._split(run, n_cells)
            first.append(run)
            n_cells -= run.n_cells
        return first

    def _split(self, run: _Run, n_cells: int) -> None:
        rest = _Run(run.n_cells - n_cells, run.n_holders)
        run.n_cells = n_cells
        for runs in self._runs:
            if run in runs:
                runs.insert(runs.index(run) + 1, rest)
