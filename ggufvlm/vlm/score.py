"""How probable given answers are: the model reads them instead of writing its own."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ggufvlm.engine.task import Output
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.engine.request import Request
    from ggufvlm.engine.thread import Outputs, Ticket


@dataclass(frozen=True, slots=True)
class Score:
    """How probable an answer is.

    Attributes:
        logprob: natural logarithm of the probability that the model says exactly this and ends there.
        n_tokens: tokens it is made of, with the one that ends it.
    """

    logprob: float
    n_tokens: int


def score(request: Request, continuations: Sequence[str], submit: Callable[[Request, Outputs], Ticket]) -> list[Score]:
    """See :meth:`VLM.score <ggufvlm.VLM.score>`.

    Args:
        request: the dialogue.
        continuations: answers to it.
        submit: hands a request to the engine.

    Raises:
        UsageError: an answer is empty.
        EngineError: the dialogue with an answer is longer than the context, or llama.cpp failed.
    """
    if not all(continuations):
        raise UsageError("an answer to be scored must not be empty")
    outputs: Outputs = queue.SimpleQueue()
    tickets = [submit(replace(request, continuation=continuation), outputs) for continuation in continuations]
    try:
        _wait(outputs, len(tickets))
    except BaseException:
        for ticket in tickets:
            ticket.abort()
        raise
    return [Score(ticket.sequence.score, len(ticket.sequence.generated) + 1) for ticket in tickets]


def _wait(outputs: Outputs, n_answers: int) -> None:
    """Raises: what went wrong with one of the answers, or with the engine."""
    while n_answers:
        output: Output | BaseException = outputs.get()
        if isinstance(output, BaseException):
            raise output
        if output.error is not None:
            raise output.error
        n_answers -= output.is_last
