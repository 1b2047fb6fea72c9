"""Worked examples: images with their right answers, asked the same question before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufvlm.families import Message
from ggufvlm.media import Image


@dataclass(frozen=True, slots=True)
class Example:
    """An image and what is to be said of it."""

    image: Image
    answer: str


def with_examples(dialogue: Sequence[Message], examples: Sequence[Example]) -> list[Message]:
    """A dialogue with examples before its first question, each asked what the last question asks.

    What comes before the question's own images is the same for all images, and so it is computed once. A question
    without an image has no examples.
    """
    asked = [place for place, message in enumerate(dialogue) if message.role == "user"]
    if not examples or not any(message.images for message in dialogue):
        return list(dialogue)
    texts = [item for item in dialogue[asked[-1]].content if isinstance(item, str)]
    prompt = texts[-1] if texts else ""
    turns = [
        message
        for example in examples
        for message in (Message("user", (example.image, prompt)), Message("assistant", (example.answer,)))
    ]
    return [*dialogue[: asked[0]], *turns, *dialogue[asked[0] :]]
