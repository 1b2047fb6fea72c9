"""How a family is asked to read a page, and in which markup it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PageFormat = Literal["text", "markdown"]
Markup = Literal["plain", "doctags", "grounded", "layout"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PagePrompts:
    """A family's ways to be asked.

    Attributes:
        text: prompt for plain text.
        markdown: prompt for Markdown.
        markup: what answers to either are written in, in the order of the prompts.
        shows_special: whether that markup consists of control tokens, which are left out of answers otherwise.
    """

    text: str
    markdown: str
    markup: tuple[Markup, Markup] = ("plain", "plain")
    shows_special: tuple[bool, bool] = (False, False)

    def prompt(self, wanted: PageFormat) -> str:
        """The prompt for a format."""
        return self.markdown if wanted == "markdown" else self.text

    def markup_of(self, wanted: PageFormat) -> Markup:
        """What an answer to that prompt is written in."""
        return self.markup[wanted == "markdown"]

    def special_shown(self, wanted: PageFormat) -> bool:
        """Whether its control tokens are wanted."""
        return self.shows_special[wanted == "markdown"]


GENERAL = PagePrompts(
    text="Transcribe all text in this image exactly as it is written, line by line. Write nothing else.",
    markdown="Convert this page to Markdown. Keep all text exactly as it is written, in the order in which people "
    "read it, with headings, lists and tables. Write nothing else.",
)
"""For models that were not made for reading."""
