"""What each slot's KV cells hold, and how much of it begins a new prompt. Pure: no clock, no llama."""

from __future__ import annotations

from collections.abc import Sequence

from ggufvlm.engine.sequence import Segment, TextSegment, append_tokens, count_cells


def common_prefix(kept: Sequence[Segment], wanted: Sequence[Segment]) -> list[Segment]:
    """The longest part that begins both, cut inside text if need be, never inside a picture."""
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


class PrefixCache:
    """The contents of all slots. A slot that is not in use keeps its cells until they are evicted."""

    def __init__(self, n_slots: int) -> None:
        self._contents: list[list[Segment]] = [[] for _ in range(n_slots)]

    def contents(self, slot: int) -> list[Segment]:
        """The segments in a slot's cells, in order."""
        return self._contents[slot]

    def best_slot(self, wanted: Sequence[Segment], free: Sequence[int]) -> tuple[int, list[Segment]]:
        """The free slot that shares most cells with the prompt (of equals, the one with least to lose)."""
        candidates = [(slot, reusable_prefix(self._contents[slot], wanted)) for slot in free]
        return max(candidates, key=lambda c: (count_cells(c[1]), -count_cells(self._contents[c[0]])))

    def cut(self, slot: int, prefix: Sequence[Segment]) -> None:
        """The slot's cells now end after ``prefix``."""
        self._contents[slot] = list(prefix)

    def append(self, slot: int, addition: Segment | Sequence[int]) -> None:
        """A picture, or tokens, were computed into the slot."""
        if isinstance(addition, Sequence):
            append_tokens(self._contents[slot], addition)
        elif isinstance(addition, TextSegment):
            append_tokens(self._contents[slot], addition.tokens)
        else:
            self._contents[slot].append(addition)

    @property
    def n_cells(self) -> int:
        """Cells in use over all slots, as if none were shared."""
        return sum(count_cells(segments) for segments in self._contents)
