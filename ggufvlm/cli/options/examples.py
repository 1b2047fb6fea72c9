"""``--example IMAGE=ANSWER``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from ggufvlm.cli.options.shared import option, text_or_file
from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.sources.arguments import ArgumentKind, classify
from ggufvlm.media.sources.labels import label

if TYPE_CHECKING:
    from ggufvlm.vlm.examples import Example


@dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """Images with their right answers."""

    panel: ClassVar[str] = "Question"

    example: Annotated[
        list[str] | None,
        option(
            "--example",
            help="An image with its right answer, shown before the question; may be repeated.",
            metavar="IMAGE=ANSWER",
        ),
    ] = None

    def read(self) -> tuple[Example, ...]:
        """The examples with their images.

        Raises:
            UsageError: no answer, or no image before it.
            ImageError: an image that is not there, or cannot be read.
            InputError: an answer's file cannot be read.
        """
        from ggufvlm.media import load
        from ggufvlm.vlm.examples import Example

        pairs = [_pair(given) for given in self.example or ()]
        return tuple(Example(load(source), answer) for source, answer in pairs)


def _pair(given: str) -> tuple[str, str]:
    """Image and answer; both may have equals signs, so it is the first behind what is an image."""
    places = [place for place, character in enumerate(given) if character == "="]
    if not places:
        raise UsageError(f"--example {label(given)}: no answer", hint='--example photo.jpg="a cat"')
    at = next((place for place in places if classify(given[:place]) is ArgumentKind.IMAGE), None)
    if at is None:
        raise ImageError(f"--example: no such image: {label(given[: places[0]])}")
    answer = text_or_file(given[at + 1 :])
    if not answer.strip():
        raise UsageError(f"--example {label(given)}: no answer", hint='--example photo.jpg="a cat"')
    return given[:at], answer
