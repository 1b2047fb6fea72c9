"""What a dialogue is made of: questions with their images, and answers."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.engine.sequence import FinishReason
from ggufvlm.media import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingImage:
    """The place of an image that was not found again when a dialogue was loaded.

    Attributes:
        source: what the user had given.
        id: sha256 of the image that was there.
        width, height: its pixels.
        reason: why it is not here.
    """

    source: str
    id: str
    width: int
    height: int
    reason: str


ChatImage = Image | MissingImage


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer.

    Attributes:
        images: come before the text of the question.
        finish_reason: "abort" if the user stopped the answer.
    """

    images: tuple[ChatImage, ...]
    text: str
    answer: str
    finish_reason: FinishReason = "stop"
