"""What was found in an image, ready for tables, JSON and the exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggufvlm.grounding.places import Box, Point

if TYPE_CHECKING:
    from ggufvlm.vlm.answer import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections:
    """What was found in one image, in pixels of the upright image.

    Attributes:
        source: the image, as it was given.
        width, height: of the image.
        labels: what was asked for; empty: everything.
        boxes, points: what was found of that.
        others: what the model marked besides.
        n_dropped: marks that could not be read, or lie outside the image.
        n_clipped: marks that reached beyond its edges.
        n_repeated: marks that said the same as another one.
        convention: how the model writes places.
        answers: the model's words, one for each question.
    """

    source: str
    width: int
    height: int
    labels: tuple[str, ...]
    boxes: tuple[Box, ...]
    points: tuple[Point, ...]
    others: tuple[Box | Point, ...]
    n_dropped: int
    n_clipped: int
    n_repeated: int
    convention: str
    answers: tuple[Answer, ...]

    @property
    def text(self) -> str:
        """What the model said, untouched."""
        return "\n".join(answer.text for answer in self.answers)

    @property
    def answer(self) -> Answer:
        """The first answer, or one that did not come to its end."""
        return next((answer for answer in self.answers if answer.finish_reason != "stop"), self.answers[0])

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels that were asked for and not found."""
        found = {box.label for box in self.boxes} | {point.label for point in self.points}
        return tuple(label for label in self.labels if label not in found)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        (seen,) = self.answers[0].images
        return {
            "source": self.source,
            "width": self.width,
            "height": self.height,
            "seen_width": seen.seen_width,
            "seen_height": seen.seen_height,
            "n_tokens": seen.n_tokens,
            "boxes": [box.to_dict() for box in self.boxes],
            "points": [point.to_dict() for point in self.points],
            "labels": list(self.labels),
            "missing": list(self.missing),
            "others": [other.to_dict() for other in self.others],
            "n_dropped": self.n_dropped,
            "n_clipped": self.n_clipped,
            "n_repeated": self.n_repeated,
            "convention": self.convention,
            "finish_reason": self.answer.finish_reason,
            "stop_reason": self.answer.stop_reason,
            "model": self.answer.model,
            "text": self.text,
        }
