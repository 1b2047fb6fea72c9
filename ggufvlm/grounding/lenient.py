"""Reads what is nearly JSON: single quotes, names without quotes, commas too many or too few, cut off anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[^\s,:\[\]{}()\"']+")
_SPACE = re.compile(r"[\s,]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_DEEPEST = 40
_CLOSING = {"{": "}", "[": "]", "(": ")"}


class _Cut:
    """Stands where the text ends inside a value, or where a bracket is missing."""

    def __repr__(self) -> str:
        return "CUT"


CUT: Final = _Cut()
"""In a list, or among the values of an object: here something is missing."""


def read_values(text: str) -> Iterator[Any]:
    """Objects and lists in a text, in order; what stands between them is passed over.

    Yields:
        dicts, lists, strings, floats, True, False and None, with :data:`CUT` in what was not complete.
    """
    at = 0
    while True:
        starts = [start for start in (text.find("{", at), text.find("[", at)) if start >= 0]
        if not starts:
            return
        reader = _LenientReader(text, min(starts))
        yield reader.value(0)
        at = reader.at


class _LenientReader:
    """Each step moves on by at least one character, so that no text takes longer than its length."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    @property
    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def value(self, depth: int) -> Any:
        self._skip()
        character = self._next
        if not character:
            return CUT
        if character == "{":
            return self._object(depth)
        if character in "[(":
            return self._list(depth, _CLOSING[character])
        if character in "\"'":
            return self._string(character)
        return self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        while True:
            self._skip()
            if self._next == "}":
                self.at += 1
                return found
            if not self._next or self._next in "])" or depth > _DEEPEST:
                self.at += depth > _DEEPEST  # goes on behind, flat
                return {**found, "": CUT}
            key = self.value(depth + 1)
            self._skip()
            if self._next in (":", "="):
                self.at += 1
                found[key if isinstance(key, str) else repr(key)] = self.value(depth + 1)
            elif isinstance(key, (dict, list)):
                found.setdefault("", key)

    def _list(self, depth: int, closing: str) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while True:
            self._skip()
            character = self._next
            if character == closing:
                self.at += 1
                return found
            if not character or character in "]})" or depth > _DEEPEST:
                self.at += depth > _DEEPEST
                return [*found, CUT]
            if character == ":":
                self.at += 1
                continue
            found.append(self.value(depth + 1))

    def _string(self, quote: str) -> Any:
        characters: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == "\\":
                characters.append(self._escape())
            elif character == quote and self._closes():
                return "".join(characters)
            else:
                characters.append(character)
        return CUT

    def _escape(self) -> str:
        character = self._next
        self.at += 1
        if character == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", self.text[self.at : self.at + 4]):
            self.at += 4
            return chr(int(self.text[self.at - 4 : self.at], 16))
        return _ESCAPES.get(character, character)

    def _closes(self) -> bool:
        """A quote inside a word ("the dog's ball") is followed by more of it."""
        at = self.at
        while at < len(self.text) and self.text[at] in " \t\r":
            at += 1
        return at == len(self.text) or self.text[at] in ",:=}])\"'\n"

    def _word(self) -> Any:
        number = _NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            # a number at the very end may have lost digits
            return float(number[0]) if self.at < len(self.text) else CUT
        word = _WORD.match(self.text, self.at)
        if word is None:
            self.at += 1
            return None
        self.at = word.end()
        return _WORDS.get(word[0].lower(), word[0])
