"""The engine's record of one request: what is in its prompt, how far it has come, what it has said."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

FinishReason = Literal["stop", "length", "repetition", "abort", "error"]


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Text in the KV cache: one cell and one position per token."""

    tokens: tuple[int, ...]

    @property
    def n_cells(self) -> int:
        return len(self.tokens)

    @property
    def n_pos(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class PictureSegment:
    """A picture, or one tile of it, in the KV cache. Two are the same cells if all fields are equal."""

    picture_id: str
    ordinal: int
    n_cells: int
    n_pos: int


Segment = TextSegment | PictureSegment


def append_tokens(segments: list[Segment], tokens: Iterable[int]) -> None:
    """Put tokens behind ``segments``; neighbouring texts become one segment."""
    added = tuple(tokens)
    if not added:
        return
    if segments and isinstance(segments[-1], TextSegment):
        segments[-1] = TextSegment(segments[-1].tokens + added)
    else:
        segments.append(TextSegment(added))


def count_cells(segments: Iterable[Segment]) -> int:
    """KV cells that the segments take."""
    return sum(segment.n_cells for segment in segments)


def count_positions(segments: Iterable[Segment]) -> int:
    """RoPE positions that the segments take."""
    return sum(segment.n_pos for segment in segments)


class Status(Enum):
    """Where a sequence stands."""

    WAITING = "waiting"
    PREFILL = "prefill"
    DECODE = "decode"
    FINISHED = "finished"


@dataclass(slots=True)
class Timings:
    """Seconds spent, by kind of work; ``first_token`` counts from the request's arrival."""

    encode: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the engine.

    Attributes:
        segments: the prompt.
        seed: of its random choices.
        cursor: index of the prompt segment that is computed next.
        offset: tokens of that segment that are already computed.
        n_pos: position of the next row.
        next_token: sampled, not yet computed.
        generated: sampled tokens, without the one that ended the answer.
    """

    id: int
    segments: Seq[Segment]
    max_tokens: int
    seed: int = 0
    slot: int = -1
    status: Status = Status.WAITING
    cursor: int = 0
    offset: int = 0
    n_pos: int = 0
    n_cached: int = 0
    n_encoded: int = 0
    next_token: int | None = None
    generated: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    abort_requested: bool = False
    timings: Timings = field(default_factory=Timings)

    @property
    def n_prompt(self) -> int:
        """Cells of the prompt."""
        return count_cells(self.segments)

    @property
    def segment(self) -> Segment:
        """The prompt segment that is computed next."""
        return self.segments[self.cursor]

    @property
    def is_prefilled(self) -> bool:
        return self.cursor == len(self.segments)

    def start_after(self, prefix: Seq[Segment]) -> None:
        """Take cells that are in the cache already as computed: ``prefix`` begins the prompt."""
        whole = len(prefix)
        self.offset = 0
        if prefix and prefix[-1] != self.segments[whole - 1]:
            whole -= 1
            self.offset = prefix[-1].n_cells
        self.cursor = whole
        self.n_pos = count_positions(prefix)
        self.n_cached = count_cells(prefix)

    def advance(self, n_tokens: int) -> None:
        """Note that ``n_tokens`` more tokens of a text segment are computed."""
        self.offset += n_tokens
        self.n_pos += n_tokens
        if self.offset == self.segment.n_cells:
            self.cursor, self.offset = self.cursor + 1, 0

    def advance_picture(self) -> None:
        """Note that a whole picture segment is computed."""
        self.n_pos += self.segment.n_pos
        self.cursor += 1
