"""Texts of messages in which some words are control tokens: only the package's own questions have any."""

from __future__ import annotations

from collections.abc import Iterable

from ggufvlm.engine.request import TextPart


class ControlText(str):
    """A control token. Never holds a user's words."""

    __slots__ = ()


class MarkedText(str):
    """A text that knows which of its parts are control tokens; to all who do not ask it is an ordinary text.

    It neither begins nor ends with a blank: templates trim texts.
    """

    parts: tuple[str, ...]

    def __new__(cls, parts: Iterable[str]) -> MarkedText:
        kept = tuple(part for part in parts if part)
        text = super().__new__(cls, "".join(kept))
        text.parts = kept
        return text


def text_parts(text: str) -> list[TextPart]:
    """A text of a message as parts of a prompt: trusted where it is a control token."""
    if isinstance(text, MarkedText):
        return [TextPart(str(part), trusted=isinstance(part, ControlText)) for part in text.parts]
    return [TextPart(text)]
