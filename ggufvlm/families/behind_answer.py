"""What a model's template puts behind an answer, where nothing else of the dialogue is to be rendered again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families.base import ChatHandler
from ggufvlm.families.messages import Message
from ggufvlm.media import Image


def rendered_behind_answer(handler: ChatHandler, system: str, question: Message) -> list[TextPart | Image]:
    """The end of the answer's turn, and the next question, up to where the next answer begins.

    Args:
        handler: of the model.
        system: a system message before the question, if there is to be one. Where the template has no place for it
            there, it begins the question.
        question: the next turn.

    Raises:
        UsageError: the template shows no answer as it is.
    """
    if system:
        found = _rendered(handler, [Message("system", (system,)), question])
        if found is not None and any(isinstance(part, TextPart) and system.strip() in part.text for part in found):
            return found
        question = replace(question, content=(f"{system}\n\n", *question.content))
    found = _rendered(handler, [question])
    if found is None:
        raise UsageError("this model's chat template shows no answers, so that no context can be continued")
    return found


def _rendered(handler: ChatHandler, messages: Sequence[Message]) -> list[TextPart | Image] | None:
    word = f"ggufvlm{secrets.token_hex(12)}"  # the template shows what stands behind it
    try:
        parts = handler.render([Message("user", ("?",)), Message("assistant", (word,)), *messages])
    except (UsageError, ModelError):
        return None
    places = [place for place, part in enumerate(parts) if isinstance(part, TextPart) and word in part.text]
    if len(places) != 1:
        return None
    answer, behind = parts[places[0]], parts[places[0] + 1 :]
    assert isinstance(answer, TextPart)
    rest = answer.text.partition(word)[2]
    return [replace(answer, text=rest), *behind] if rest else behind
