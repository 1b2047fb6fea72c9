"""An image without alternative text: where it stands, and what to put there."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_MARKDOWN_MARKS = re.compile(r"([\\`*_\[\]<>|~])|&(?=#?\w+;)")


@dataclass(frozen=True, slots=True)
class Gap:
    """A place in a text where an alternative text belongs.

    Attributes:
        at: characters before it.
        source: the image as the text names it, unescaped.
        kind: of the text around it.
    """

    at: int
    source: str
    kind: Literal["html", "markdown"]

    def filled(self, words: str) -> str:
        """What to insert, so that a reader sees exactly these words."""
        words = " ".join(words.split())
        if self.kind == "html":
            return f' alt="{html.escape(words)}"'
        return _MARKDOWN_MARKS.sub(lambda mark: f"\\{mark[0]}", words)


def insert(text: str, pieces: Iterable[tuple[int, str]]) -> str:
    """The text with pieces put in at these places; nothing else changes."""
    made, done = [], 0
    for at, piece in sorted(pieces):
        made += [text[done:at], piece]
        done = at
    return "".join([*made, text[done:]])


def shorten(words: str, limit: int) -> str:
    """At most ``limit`` characters: whole sentences if one fits, else whole words and an ellipsis."""
    words = " ".join(words.split())
    if len(words) <= limit:
        return words
    end = max(words[: limit + 1].rfind(f"{mark} ") for mark in ".!?")
    if end > 0:
        return words[: end + 1]
    cut = words[: limit - 1]
    if words[limit - 1] != " ":
        cut = cut.rpartition(" ")[0] or cut
    return f"{cut.rstrip(' ,;:')}…"
