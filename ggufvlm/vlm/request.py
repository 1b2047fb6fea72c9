"""Between what people pass to :class:`~ggufvlm.VLM` and what its engine takes and gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ggufvlm.engine.request import ImagePart, Request
from ggufvlm.engine.sequence import ImageSegment
from ggufvlm.engine.sequence import Sequence as EngineSequence
from ggufvlm.errors import UsageError
from ggufvlm.families import Message, read_messages
from ggufvlm.media import Image, load
from ggufvlm.vlm.answer import SeenImage

Messages = Iterable[Mapping[str, Any] | Message]


def image_ids(request: Request) -> frozenset[str]:
    """Identities of the images in a request."""
    return frozenset(part.id for part in request.parts if isinstance(part, ImagePart))


def read_dialogue(messages: Messages, images: Sequence[Any]) -> list[Message]:
    """Messages in either form; ``images`` are for the entries that name none.

    Raises:
        UsageError: a mixture of both forms, or messages that make no sense.
        ImageError: an image cannot be read.
    """
    given = list(messages)
    ready = [message for message in given if isinstance(message, Message)]
    if not ready:
        return read_messages([m for m in given if not isinstance(m, Message)], load, images)
    if len(ready) != len(given) or images:
        raise UsageError("messages must be all of one kind")
    return ready


def seen_images(images: Sequence[Image], request: Request, sequence: EngineSequence) -> Iterable[SeenImage]:
    """What the model saw of each image of a request."""
    parts = [part for part in request.parts if isinstance(part, ImagePart)]
    cells: Counter[str] = Counter()
    for segment in sequence.segments:
        if isinstance(segment, ImageSegment):
            cells[segment.image_id] += segment.n_cells
    times = Counter(part.id for part in parts)
    for image, part in zip(images, parts, strict=True):
        yield SeenImage(
            source=image.source,
            id=image.id,
            width=image.width,
            height=image.height,
            seen_width=part.width,
            seen_height=part.height,
            n_tokens=cells[part.id] // times[part.id],
        )


def question(images: Sequence[Image], prompt: str, system: str | None = None) -> list[Message]:
    """The dialogue of one question: images first, in order, then the prompt."""
    messages = [Message("user", (*images, prompt))]
    return [Message("system", (system,)), *messages] if system else messages
