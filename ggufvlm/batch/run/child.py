"""The child process of :mod:`.isolate`: questions come in through stdin, answers go out through stdout."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from ggufvlm.batch.run.messages import Begin, End, Finished, More, Ready
from ggufvlm.errors import GGUFVLMError
from ggufvlm.vlm.map import Question
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.parent import Parent


def main() -> None:
    """Load the model, then answer round after round until the parent ends."""
    parent = Parent()
    begin: Begin = parent.receive()
    messages: SimpleQueue[Any] = SimpleQueue()
    parent.listen(messages.put)
    try:
        _answer(begin, messages, parent)
    except GGUFVLMError as error:
        parent.send(Failure.of(error))


def _answer(begin: Begin, messages: SimpleQueue[Any], parent: Parent) -> None:
    from ggufvlm.vlm.vlm import VLM

    vlm = VLM(begin.files, begin.config, raw=begin.raw)
    vlm.wait_until_loaded()
    parent.send(Ready())
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
