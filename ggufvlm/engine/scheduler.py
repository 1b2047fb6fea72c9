"""Which sequences run, and what the next step computes. Pure: no clock, no llama."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ggufvlm.config import Priority
from ggufvlm.engine.sequence import ImageSegment, Sequence, Status, TextSegment

PREFILL_BESIDE_ANSWERS = 128
"""Cells of a prompt that are computed at a time while answers are running: between two words of theirs."""


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
    """Rows of one image of one sequence, after ``sequence.offset``: embeddings never share a batch with tokens.

    Attributes:
        n_rows: at most this many; an image whose rows see each other is computed at once all the same.
    """

    sequence: Sequence
    segment: ImageSegment
    n_rows: int


StepPlan = TokenStep | MediaStep


class Scheduler:
    """Waiting and running sequences. A slot belongs to one running sequence at a time.

    Args:
        n_slots: sequences that run at a time.
        n_batch: rows of a token step.
        n_ubatch: rows of an image computed at once.
        priority: "latency" keeps running answers moving while prompts are read; "throughput" reads prompts first, so
            that as many answers as possible share each step.
    """

    def __init__(self, n_slots: int, n_batch: int, n_ubatch: int, priority: Priority) -> None:
        self._n_batch = n_batch
        self._n_ubatch = n_ubatch
        self._priority = priority
        self._free = list(range(n_slots))
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._image_is_due = False

    @property
    def free_slots(self) -> tuple[int, ...]:
        return tuple(self._free)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    @property
    def answering(self) -> list[Sequence]:
        """Running sequences whose prompt is computed."""
        return [s for s in self.running if s.status is Status.DECODE and s.next_token is not None]

    @property
    def reading(self) -> list[Sequence]:
        """Running sequences whose prompt is not computed yet."""
        return [s for s in self.running if s.status is Status.PREFILL]

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self.waiting.append(sequence)

    def admit(self, sequence: Sequence, slot: int) -> None:
        """Let a waiting sequence run in a free slot."""
        self.waiting.remove(sequence)
        self._free.remove(slot)
        sequence.slot, sequence.status = slot, Status.PREFILL
        self.running.append(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Put a running sequence back to the head of the queue."""
        self.remove(sequence)
        sequence.preempt()
        self.waiting.appendleft(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is; its slot is free again."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self._free.append(sequence.slot)

    def plan(self) -> StepPlan | None:
        """The next step."""
        reading = self.reading
        images = [s for s in reading if isinstance(s.segment, ImageSegment)]
        if self._priority == "throughput" and reading:
            return self._media_step(images[0], self._n_ubatch) if images else self._token_step(reading)
        answers = [self._answer_row(s) for s in self.answering]
        if images and (self._image_is_due or len(images) == len(self.running)):
            self._image_is_due = False
            return self._media_step(images[0], PREFILL_BESIDE_ANSWERS if answers else self._n_ubatch)
        self._image_is_due = True
        return self._token_step(reading)

    def plan_answers(self) -> TokenStep | None:
        """A step that moves only the running answers on: for the pauses of an encoder."""
        rows = [self._answer_row(s) for s in self.answering if not s.abort_requested]
        return TokenStep(tuple(rows[: self._n_batch])) if rows else None

    def _media_step(self, sequence: Sequence, n_rows: int) -> MediaStep:
        segment = sequence.segment
        assert isinstance(segment, ImageSegment)
        return MediaStep(sequence, segment, min(n_rows, self._n_ubatch, segment.n_cells - sequence.offset))

    def _token_step(self, reading: list[Sequence]) -> TokenStep | None:
        rows = [self._answer_row(s) for s in self.answering][: self._n_batch]
        budget = min(self._n_batch - len(rows), PREFILL_BESIDE_ANSWERS if rows else self._n_batch)
        for sequence in reading:
            added = self._prefill_rows(sequence, budget)
            rows += added
            budget -= len(added)
        return TokenStep(tuple(rows)) if rows else None

    @staticmethod
    def _answer_row(sequence: Sequence) -> TokenRow:
        assert sequence.next_token is not None
        return TokenRow(sequence, sequence.next_token, sequence.n_pos, wants_logits=True)

    @staticmethod
    def _prefill_rows(sequence: Sequence, budget: int) -> list[TokenRow]:
        segment = sequence.segment
        if not isinstance(segment, TextSegment) or budget <= 0:
            return []
        tokens = segment.tokens[sequence.offset : sequence.offset + budget]
        is_end = sequence.cursor == len(sequence.segments) - 1 and sequence.offset + len(tokens) == segment.n_cells
        last = len(tokens) - 1
        return [
            TokenRow(sequence, token, sequence.n_pos + i, wants_logits=is_end and i == last)
            for i, token in enumerate(tokens)
        ]
