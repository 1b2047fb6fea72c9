"""Which sequences run, and what the next step computes. Pure: no clock, no llama."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ggufvlm.engine.sequence import PictureSegment, Sequence, Status, TextSegment


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token of a token step."""

    sequence: Sequence
    token: int
    position: int
    wants_logits: bool


@dataclass(frozen=True, slots=True)
class TokenStep:
    """Token rows of one or several sequences: decode lanes first, then text prefill."""

    rows: tuple[TokenRow, ...]


@dataclass(frozen=True, slots=True)
class MediaStep:
    """One picture segment of one sequence: embeddings never share a batch with tokens."""

    sequence: Sequence
    segment: PictureSegment


StepPlan = TokenStep | MediaStep


class Scheduler:
    """Waiting and running sequences. A slot belongs to one running sequence at a time."""

    def __init__(self, n_slots: int, n_batch: int) -> None:
        self._n_batch = n_batch
        self._free = list(range(n_slots))
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._picture_is_due = False

    @property
    def free_slots(self) -> tuple[int, ...]:
        return tuple(self._free)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self.waiting.append(sequence)

    def admit(self, sequence: Sequence, slot: int) -> None:
        """Let a waiting sequence run in a free slot."""
        self.waiting.remove(sequence)
        self._free.remove(slot)
        sequence.slot, sequence.status = slot, Status.PREFILL
        self.running.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is; its slot is free again."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self._free.append(sequence.slot)

    def plan(self) -> StepPlan | None:
        """The next step: running answers go on together with text prefill; pictures take turns with them."""
        pictures = [
            MediaStep(s, s.segment)
            for s in self.running
            if s.status is Status.PREFILL and isinstance(s.segment, PictureSegment)
        ]
        rows = self._token_rows()
        if pictures and (self._picture_is_due or not rows):
            self._picture_is_due = False
            return pictures[0]
        self._picture_is_due = True
        return TokenStep(tuple(rows)) if rows else None

    def _token_rows(self) -> list[TokenRow]:
        rows = [
            TokenRow(s, s.next_token, s.n_pos, wants_logits=True)
            for s in self.running
            if s.status is Status.DECODE and s.next_token is not None
        ][: self._n_batch]
        for sequence in self.running:
            if sequence.status is Status.PREFILL:
                rows += self._prefill_rows(sequence, self._n_batch - len(rows))
        return rows

    @staticmethod
    def _prefill_rows(sequence: Sequence, budget: int) -> list[TokenRow]:
        segment = sequence.segment
        if not isinstance(segment, TextSegment):
            return []
        tokens = segment.tokens[sequence.offset : sequence.offset + budget]
        is_end = sequence.cursor == len(sequence.segments) - 1 and sequence.offset + len(tokens) == segment.n_cells
        last = len(tokens) - 1
        return [
            TokenRow(sequence, token, sequence.n_pos + i, wants_logits=is_end and i == last)
            for i, token in enumerate(tokens)
        ]
