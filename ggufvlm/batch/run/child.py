"""The child process of :mod:`.isolate`: questions come in through stdin, answers go out through stdout."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from ggufvlm.batch.run.messages import Begin, End, Finished, More, Ready
from ggufvlm.vlm.map import Question
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.parent import Parent, run_child


def main() -> None:
    """Load the model, then answer round after round until the parent ends."""
    run_child(_answer)


def _answer(parent: Parent) -> None:
    from ggufvlm.vlm.vlm import VLM

    begin: Begin = parent.receive()
    messages: SimpleQueue[Any] = SimpleQueue()
    parent.listen(messages.put)
    vlm = VLM(begin.files, begin.config, raw=begin.raw)
    vlm.examples = begin.examples
    vlm.wait_until_loaded()
    parent.send(Ready(vlm.handler.warnings))
    while True:
        for result in vlm.map(_round(messages, parent), n_ahead=begin.n_ahead(begin.config)):
            failure = Failure.of(result.error) if result.error else None
            parent.send(Finished(result.question.tag, result.answer, failure))
        parent.send(End())


def _round(messages: SimpleQueue[Any], parent: Parent) -> Iterator[Question]:
    while True:
        parent.send(More())
        message = messages.get()
        if isinstance(message, End):
            return
        yield message
