"""How probable given answers are: the model reads them instead of writing its own."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ggufvlm.engine.task import Output
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.engine.worker import Outputs
    from ggufvlm.families import Message
    from ggufvlm.vlm.vlm import VLM


@dataclass(frozen=True, slots=True)
class Score:
    """How probable an answer is.

    Attributes:
        logprob: natural logarithm of the probability that the model says exactly this and ends there.
        n_tokens: tokens it is made of, with the one that ends it.
    """

    logprob: float
    n_tokens: int


def score(vlm: VLM, dialogue: list[Message], continuations: Sequence[str]) -> list[Score]:
    """See :meth:`VLM.score <ggufvlm.VLM.score>`."""
    if not all(continuations):
        raise UsageError("an answer to be scored must not be empty")
    request = vlm._request(dialogue, "", replace(vlm.sampling, max_tokens=-1, stop=(), constraint=None, logprobs=None))
    vlm.stop_preparing(unless_within=request)
    outputs: Outputs = queue.SimpleQueue()
    tickets = [
        vlm._worker.submit(replace(request, continuation=continuation), outputs) for continuation in continuations
    ]
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
