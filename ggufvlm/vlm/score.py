"""How probable given answers are: the model reads them instead of writing its own."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ggufvlm.engine.task import Output
from ggufvlm.errors import UsageError
from ggufvlm.vlm.request import closed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ggufvlm.config import SamplingSettings
    from ggufvlm.engine.request import Request
    from ggufvlm.engine.thread import Outputs
    from ggufvlm.media import ImageSource
    from ggufvlm.vlm.answer import PendingAnswer
    from ggufvlm.vlm.request import Messages


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """How probable an answer is.

    Attributes:
        logprob: natural logarithm of the probability that the model says exactly this and ends there.
        n_tokens: tokens it is made of, with the one that ends it.
    """

    logprob: float
    n_tokens: int


class Scorer(Protocol):
    """Who reads the answers: :class:`~ggufvlm.VLM`."""

    def build_request(
        self, messages: Messages, *, images: Sequence[ImageSource] = (), **settings: Unpack[SamplingSettings]
    ) -> Request: ...

    def submit(self, request: Request, outputs: Outputs | None = None) -> PendingAnswer: ...


def score(
    vlm: Scorer, messages: Messages, continuations: Sequence[str], *, images: Sequence[ImageSource] = ()
) -> list[AnswerScore]:
    """How probable each of some answers is, by the model's own token probabilities.

    The dialogue is computed once; the answers share its cells, as many at a time as the engine has slots.

    Args:
        vlm: reads the answers.
        messages: the dialogue, as for :meth:`VLM.stream <ggufvlm.VLM.stream>`.
        continuations: whole answers, each with at least one character.
        images: for the entries of the dialogue that name none.

    Returns:
        A score for each answer, in the same order.

    Raises:
        UsageError: an answer is empty.
        ImageError: an image cannot be read.
        EngineError: the dialogue with an answer is longer than the context, or llama.cpp failed.
    """
    if not all(continuations):
        raise UsageError("an answer to be scored must not be empty")
    request = vlm.build_request(messages, images=images, max_tokens=-1, stop=(), constraint=None, logprobs=None)
    request = replace(request, parts=(*request.parts, *closed(request.thoughts)), thoughts=None)
    outputs: Outputs = queue.SimpleQueue()
    pending = [vlm.submit(replace(request, continuation=continuation), outputs) for continuation in continuations]
    try:
        _wait(outputs, len(pending))
    except BaseException:
        for answer in pending:
            answer.abort()
        raise
    sequences = [answer.ticket.sequence for answer in pending]
    return [AnswerScore(sequence.score, len(sequence.generated) + 1) for sequence in sequences]


def _wait(outputs: Outputs, n_answers: int) -> None:
    """Raises: what went wrong with one of the answers, or with the engine."""
    while n_answers:
        output: Output | BaseException = outputs.get()
        if isinstance(output, BaseException):
            raise output
        if output.error is not None:
            raise output.error
        n_answers -= output.is_last
