"""What has to be known of a family to ask it for places and to understand its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ggufvlm.errors import UsageError
from ggufvlm.families.control import ControlText, MarkedText

Frame = Literal["seen", "image"]
LABEL = "{label}"
"""Stands for one label, or for all of them, in a question."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question.

    Attributes:
        label: what the whole answer is about; ``None`` if its objects have labels of their own.
        text: the question; it knows its control tokens.
    """

    label: str | None
    text: MarkedText


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """How a family is asked for places, and how it writes them.

    Attributes:
        name: the registry's word for it.
        who: the models that have it, for people.
        scale: the number that stands for the full width and for the full height; ``None``: numbers are pixels.
        y_first: vertical coordinates come before horizontal ones.
        frame: what the numbers are relative to: "seen", what the projector gets, with the bars beside the image if
            there are any; or "image", the image itself.
        everything: the question for all objects.
        labelled: the question for some, with ``{label}`` in it; ``None``: ``everything`` is asked, and the wanted
            objects are picked from the answer.
        pointed: the question for points, with ``{label}``; ``None``: the family gives none.
        control: which texts in the questions are control tokens.
        one_by_one: each label is a question of its own.
        shows_control: the answer holds control tokens.
        min_tokens: of an image; fewer make boxes unreliable. ``None``: nothing is known.
    """

    name: str
    who: str
    scale: float | None
    everything: str
    labelled: str | None = None
    pointed: str | None = None
    y_first: bool = False
    frame: Frame = "seen"
    control: tuple[str, ...] = ()
    one_by_one: bool = False
    shows_control: bool = False
    min_tokens: int | None = None

    def asks(self, labels: Sequence[str], *, points: bool = False) -> list[Ask]:
        """The questions for some labels, or for everything if there are none.

        Raises:
            UsageError: points are wanted, and the family gives none.
        """
        if points and self.pointed is None:
            raise UsageError(
                f"{self.who} give boxes, but no points (convention {self.name})", hint="-m qwen3-vl-2b points"
            )
        template = self.pointed if points else self.labelled
        if template is None or not (labels or points):
            return [Ask(None, MarkedText(self._cut(self.everything)))]
        groups = [[label] for label in labels] if self.one_by_one else [list(labels) or ["object"]]
        return [
            Ask(group[0] if labels and len(group) == 1 else None, self._filled(template, ", ".join(group)))
            for group in groups
        ]

    def _filled(self, template: str, words: str) -> MarkedText:
        before, _, after = template.partition(LABEL)
        return MarkedText([*self._cut(before), words, *self._cut(after)])

    def _cut(self, text: str) -> list[str]:
        pieces = [text]
        for token in self.control:
            pieces = [part for piece in pieces for part in _cut_at(piece, token)]
        return pieces


def own_question(template: str, labels: Sequence[str]) -> Ask:
    """A user's question; ``{label}`` in it is replaced by the labels."""
    return Ask(None, MarkedText([template.replace(LABEL, ", ".join(labels)).strip()]))


def _cut_at(text: str, token: str) -> list[str]:
    if isinstance(text, ControlText):
        return [text]
    first, *others = text.split(token)
    return [first, *(piece for other in others for piece in (ControlText(token), other))]


# InternVL and MiniCPM-V are asked for boxes in the same words
REFERENCE_LABELLED = (
    "Please provide the bounding box coordinate of the region this sentence describes: <ref>{label}</ref>"
)
REFERENCE_EVERYTHING = "Please detect and label all objects in the following image and mark their positions."
REFERENCE_CONTROL = ("<ref>", "</ref>")

# the built-in model, which knows this one question, and fine-tunes like it
PLAIN_JSON = Convention(
    name="json_rel1000",
    who="models like the built-in one",
    scale=1000,
    everything="Detect all objects and return their bounding boxes as JSON.",
)
