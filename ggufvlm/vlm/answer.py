"""What comes back: an answer with its numbers, and the stream that it comes through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ggufvlm.constraints.constraint import Constraint
from ggufvlm.engine.request import ImagePart, Request
from ggufvlm.engine.sequence import FinishReason, ImageSegment, Sequence, StopReason, TokenLogprob
from ggufvlm.errors import GGUFVLMError

if TYPE_CHECKING:
    from ggufvlm.engine.thread import Ticket

NOT_LOADED = "not loaded, the image is known"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenImage:
    """An image and how the model saw it.

    Attributes:
        source: what the user gave.
        id: sha256 of its decoded pixels and size.
        width, height: its own pixels, upright.
        seen_width, seen_height: pixels the projector got.
        n_tokens: what it takes of the context.
        is_on_dark: what was transparent was dark: on white nearly nothing would have been seen.
    """

    source: str
    id: str
    width: int
    height: int
    seen_width: int
    seen_height: int
    n_tokens: int
    is_on_dark: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSize:
    """What a dialogue takes of the context, in cells.

    Attributes:
        n_text: its text, the template's included.
        n_images: each image, in order.
        limit: the most that prompt and answer may take together.
    """

    n_text: int
    n_images: tuple[int, ...]
    limit: int

    @property
    def total(self) -> int:
        """Cells of the whole prompt."""
        return self.n_text + sum(self.n_images)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Token counts of one answer.

    Attributes:
        n_prompt: cells of the whole prompt.
        n_cached: of these, kept from before.
        n_restored: of the cached ones, read from a snapshot on disk.
        n_images_encoded: image pieces that went through the projector.
        n_images_recalled: image pieces whose projector output was known, from memory or disk.
        n_generated: tokens that the model made, thoughts among them.
        n_thoughts: tokens of its thoughts.
        n_ctx: size of the context.
    """

    n_prompt: int
    n_cached: int
    n_restored: int
    n_images_encoded: int
    n_images_recalled: int
    n_generated: int
    n_ctx: int
    n_thoughts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerTimes:
    """Seconds. ``first_token`` counts from the request, ``load`` is what loading the model took once."""

    load: float
    encode: float
    prefill: float
    decode: float
    first_token: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A finished answer; ``str()`` of it is its text, ``in`` and ``+`` work on that, and notebooks show it as Markdown.

    Attributes:
        finish_reason: "stop" (the model ended it, or a stop string), "length", "repetition" (cut by the guard),
            "abort" (interrupted).
        stop_reason: where that is "length", which limit it was: "max_tokens" or "context".
        seed: the seed of its random choices: the same one gives the same answer again.
        repair: what is mended of llama.cpp's own computation for this model (``llava: class token``), if anything.
        projector: the derived projector that was used (``BF16 (derived, faster here)``); None: as it was published.
        logprobs: of each token, if they were asked for; a stop string's tokens are among them.
        reasoning: what the model thought before it answered; empty if it did not.
        value: what the JSON of an answer to a ``schema`` says: an instance of a pydantic model, or plain data.
    """

    text: str
    finish_reason: FinishReason
    model: str
    images: tuple[SeenImage, ...]
    usage: Usage
    times: AnswerTimes
    seed: int
    stop_reason: StopReason | None = None
    repair: str | None = None
    projector: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""
    value: Any = None

    def __str__(self) -> str:
        return self.text

    def __contains__(self, text: str) -> bool:
        return text in self.text

    def __add__(self, other: str | Answer) -> str:
        return self.text + str(other) if isinstance(other, (str, Answer)) else NotImplemented

    def __radd__(self, other: str) -> str:
        return other + self.text if isinstance(other, str) else NotImplemented

    def _repr_markdown_(self) -> str:
        """As notebooks ask for it."""
        return self.text

    def fitted(self, constraint: Constraint) -> Answer:
        """The answer checked against its constraint, and tidy; one that the repetition guard cut stays as it is.

        Raises:
            EngineError: as :meth:`Constraint.check <ggufvlm.Constraint.check>`.
        """
        if self.finish_reason == "repetition":
            return self
        constraint.check(self.text, self.finish_reason, self.stop_reason)
        return replace(self, text=constraint.tidy(self.text))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; bytes of tokens are lists of numbers, as in OpenAI's API."""
        data = asdict(replace(self, value=None))
        del data["value"]
        for token in data["logprobs"] or ():
            token["bytes"] = list(token["bytes"])
            token["top"] = [{"token": text, "logprob": logprob} for text, logprob in token["top"]]
        if self.logprobs is None:
            del data["logprobs"]
        if not self.usage.n_thoughts:
            del data["reasoning"]
        return data


def finished_answer(
    request: Request,
    ticket: Ticket,
    *,
    model: str,
    n_ctx: int,
    load_seconds: float,
    repair: str | None,
    projector: str | None,
) -> Answer:
    """The answer to a request that the engine has ended.

    Args:
        request: what was asked.
        ticket: what was said, and the engine's record of it.
        model: its name.
        n_ctx: size of the context.
        load_seconds: what loading the model took.
        repair, projector: see :class:`Answer`.
    """
    sequence, timings = ticket.sequence, ticket.sequence.timings
    return Answer(
        text=request.prefill + "".join(ticket.said),
        reasoning="".join(ticket.thought),
        finish_reason=sequence.finish_reason or "error",
        stop_reason=sequence.stop_reason,
        model=model,
        images=tuple(seen_images(request, sequence)),
        usage=Usage(
            n_prompt=sequence.n_prompt,
            n_cached=sequence.n_cached,
            n_restored=sequence.n_restored,
            n_images_encoded=sequence.n_encoded,
            n_images_recalled=sequence.n_recalled,
            n_generated=len(sequence.generated),
            n_ctx=n_ctx,
            n_thoughts=sequence.n_thoughts,
        ),
        times=AnswerTimes(
            load=load_seconds,
            encode=timings.encode,
            prefill=timings.prefill,
            decode=timings.decode,
            first_token=timings.first_token,
        ),
        seed=sequence.seed,
        repair=repair,
        projector=projector,
        logprobs=None if request.sampling.logprobs is None else tuple(sequence.logprobs),
    )


def seen_images(request: Request, sequence: Sequence) -> Iterator[SeenImage]:
    """What the model saw of each image of a request, in order; ``sequence`` is the engine's record of it."""
    parts = [part for part in request.parts if isinstance(part, ImagePart)]
    cells: Counter[str] = Counter()
    for segment in sequence.segments:
        if isinstance(segment, ImageSegment):
            cells[segment.image_id] += segment.n_cells
    times = Counter(part.id for part in parts)
    for part in parts:
        if part.original is not None:
            yield SeenImage(
                source=part.source,
                id=part.original.id,
                width=part.original.width,
                height=part.original.height,
                seen_width=part.width,
                seen_height=part.height,
                n_tokens=cells[part.id] // times[part.id],
                is_on_dark=part.original.is_on_dark,
            )


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """A request that the engine has.

    Attributes:
        ticket: iterate it for the pieces of text, unless they go to a queue that several requests share.
        finish: makes the answer when the engine has ended it.
    """

    ticket: Ticket
    finish: Callable[[], Answer]

    def abort(self) -> None:
        """Make the answer end soon. From any thread or signal handler."""
        self.ticket.abort()


class Pieces(Protocol):
    """Pieces of an answer's text, and on the way to them those of its thoughts."""

    on_thought: Callable[[str], None] | None

    def __next__(self) -> str: ...


class AnswerStream:
    """Iterate for pieces of text as they are made; :attr:`answer` is complete when the iteration has ended.

    Leaving early (``close``, or ``with``) stops the model and keeps what was said.

    Attributes:
        is_over: whether nothing more comes: all is said, or something went wrong.
        on_thought: takes pieces of what the model thinks before it answers, while the iteration waits for the answer.
    """

    def __init__(
        self, pieces: Pieces, abort: Callable[[], None], finish: Callable[[], Answer], start: str = ""
    ) -> None:
        """Make the stream.

        Args:
            pieces: the text as it is made.
            abort: makes it end soon.
            finish: makes the answer when it has ended.
            start: the text that the answer begins with.
        """
        self._start = start
        self._pieces = pieces
        self._abort = abort
        self._finish = finish
        self._answer: Answer | None = None
        self.is_over = False

    def __iter__(self) -> Iterator[str]:
        return self

    @property
    def on_thought(self) -> Callable[[str], None] | None:
        return self._pieces.on_thought

    @on_thought.setter
    def on_thought(self, take: Callable[[str], None] | None) -> None:
        self._pieces.on_thought = take

    def __next__(self) -> str:
        if self._start:
            start, self._start = self._start, ""
            return start
        try:
            return next(self._pieces)
        except StopIteration:
            self.is_over = True
            if self._answer is None:
                self._answer = self._finish()
            raise
        except GGUFVLMError:
            self.is_over = True
            raise

    @property
    def answer(self) -> Answer:
        """The whole answer; waits for it if it is still being made."""
        for _ in self:
            pass
        assert self._answer is not None
        return self._answer

    def abort(self) -> None:
        """Make the model stop soon; iterate on for what it has said by then. From any thread or signal handler."""
        self._abort()

    def close(self) -> None:
        """Stop the model if it is still answering; what was said stays in :attr:`answer`."""
        if self._answer is None:
            self._abort()
            for _ in self:
                pass

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
