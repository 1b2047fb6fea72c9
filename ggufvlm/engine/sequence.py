"""The engine's record of one request: what is in its prompt, how far it has come, what it has said."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

FinishReason = Literal["stop", "length", "repetition", "abort", "error"]
StopReason = Literal["max_tokens", "context"]
"""Which limit ended an answer by its length: its own, or that of the context."""


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
class ImageSegment:
    """An image, or one tile of it, in the KV cache. Two are the same cells if all fields are equal."""

    image_id: str
    ordinal: int
    n_cells: int
    n_pos: int


Segment = TextSegment | ImageSegment


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


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How probable a token of an answer was, as the model sees it: natural logarithms.

    Attributes:
        token: its text; half a character is U+FFFD.
        bytes: its bytes.
        logprob: of the token.
        top: the most probable tokens in its place with theirs, the highest first.
    """

    token: str
    bytes: bytes
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


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
        n_prompt: cells of the prompt.
        cursor: index of the prompt segment that is computed next.
        offset: cells of that segment that are already computed.
        n_pos: position of the next row; inside an image that of its first.
        n_cached: cells of the prompt that did not have to be computed.
        n_restored: of these, read from a snapshot.
        n_encoded, n_recalled: images and tiles that were encoded, or whose embeddings were known.
        next_token: sampled, not yet computed.
        generated: sampled tokens, without the one that ended the answer.
        n_thoughts: those of them that are thoughts, or marks around them.
        thoughts_are_counted: whether they count for ``max_tokens``.
        logprobs: of the tokens in ``generated``, if they were asked for.
        score: log-probability of a given continuation.
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
    n_prompt: int = field(init=False)
    n_cached: int = 0
    n_restored: int = 0
    n_encoded: int = 0
    n_recalled: int = 0
    next_token: int | None = None
    generated: list[int] = field(default_factory=list)
    n_thoughts: int = 0
    thoughts_are_counted: bool = False
    logprobs: list[TokenLogprob] = field(default_factory=list)
    score: float = 0.0
    finish_reason: FinishReason | None = None
    abort_requested: bool = False
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        self.n_prompt = count_cells(self.segments)

    @property
    def segment(self) -> Segment:
        """The prompt segment that is computed next."""
        return self.segments[self.cursor]

    @property
    def stop_reason(self) -> StopReason | None:
        """Which limit ended the answer, if its length did."""
        if self.finish_reason != "length":
            return None
        return "max_tokens" if self.n_counted == self.max_tokens else "context"

    @property
    def n_counted(self) -> int:
        """Tokens so far that count for ``max_tokens``."""
        return len(self.generated) - (0 if self.thoughts_are_counted else self.n_thoughts)

    @property
    def is_prefilled(self) -> bool:
        return self.cursor == len(self.segments)

    @property
    def is_inside_image(self) -> bool:
        """Whether some rows of an image are computed and others are not."""
        return not self.is_prefilled and self.offset > 0 and isinstance(self.segment, ImageSegment)

    @property
    def n_uncomputed(self) -> int:
        """Cells of the prompt that are still to be computed."""
        return count_cells(self.segments[self.cursor :]) - self.offset

    def start_after(self, prefix: Seq[Segment]) -> None:
        """Take cells that are in the cache already as computed: ``prefix`` begins the prompt."""
        whole = len(prefix)
        self.offset = 0
        if prefix and prefix[-1] != self.segments[whole - 1]:
            whole -= 1
            self.offset = prefix[-1].n_cells
        self.cursor = whole
        self.n_pos = count_positions(prefix)
        self.n_cached = min(count_cells(prefix), self.n_prompt)

    def advance(self, n_cells: int) -> None:
        """Note that ``n_cells`` more cells of the present segment are computed."""
        segment = self.segment
        self.offset += n_cells
        if isinstance(segment, TextSegment):
            self.n_pos += n_cells
        if self.offset == segment.n_cells:
            self.n_pos += segment.n_pos if isinstance(segment, ImageSegment) else 0
            self.cursor, self.offset = self.cursor + 1, 0

    def preempt(self) -> None:
        """Give up the slot: what has been said becomes part of what is to be computed again."""
        segments = list(self.segments)
        if self.generated:
            computed_again = self.generated[count_cells(self.segments) - self.n_prompt :]
            append_tokens(segments, computed_again)
        self.segments, self.next_token = tuple(segments), None
        self.slot, self.status = -1, Status.WAITING
        self.start_after([])
