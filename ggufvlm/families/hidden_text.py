"""Texts of strangers as a template sees them: it can look into them, and whatever it makes of them stays theirs.

Each character that is not blank has another one in its place, of a private-use plane, for one rendering. Who asks such
a text a question gets the answer for the text itself; who cuts, joins or prints it gets characters that stand for
others. So no text can become a part of the template, not even through an operation that nobody has thought of here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

from ggufvlm.errors import UsageError

_FIRST, _LAST = 0xF0000, 0x10FFFF
HIDDEN = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]+")
"""Characters that stand for others, in a row."""


class _Originals(dict[int, int]):
    def __missing__(self, character: int) -> int:
        self[character] = character
        return character


class _StandIns(dict[int, int]):
    """Made when they are first asked for."""

    def __init__(self, originals: _Originals, first: int) -> None:
        super().__init__()
        self._originals, self._next = originals, first

    def __missing__(self, character: int) -> int:
        if chr(character).isspace():
            self[character] = character
            return character
        if self._next > _LAST:
            raise UsageError("the messages have more different characters than any language")
        found = self[character] = self._next
        self._originals[found] = character
        self._next += 1
        return found


class Alphabet:
    """Which character stands for which, in one rendering. The first ones stand for images."""

    def __init__(self, n_images: int = 0) -> None:
        self._first = _FIRST + n_images
        self.originals = _Originals()
        self._stand_ins = _StandIns(self.originals, self._first)
        text = f"[{chr(self._first)}-{chr(_LAST)}]+"
        image = f"[{chr(_FIRST)}-{chr(self._first - 1)}]|" if n_images else ""
        self.pattern = re.compile(rf"{image}{text}(?:\s+{text})*")
        """An image, or a text with the blanks in it."""

    def image(self, number: int) -> HiddenText:
        """What stands for an image."""
        return HiddenText(chr(_FIRST + number), self)

    def number_of_image(self, found: str) -> int | None:
        """Of which image a match of :attr:`pattern` is; ``None`` if it is a text."""
        return ord(found[0]) - _FIRST if ord(found[0]) < self._first else None

    def hide(self, text: str) -> HiddenText:
        """A text with all its characters hidden."""
        plain = str.__str__(text)
        return HiddenText(plain.translate(self._stand_ins), self, plain)

    def hide_all(self, value: Any) -> Any:
        """A value as JSON has them, with all its texts hidden, also those that name its fields."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide_all(key): self.hide_all(item) for key, item in value.items()}
        return [self.hide_all(item) for item in value] if isinstance(value, (list, tuple)) else value

    def kept(self, made: str) -> str:
        """A text that was made of others, which hides what they hid."""
        if type(made) is not str or made.isascii() or HIDDEN.search(made) is None:
            return made
        return HiddenText(made, self)

    def read(self, text: str) -> str:
        """The text itself."""
        if isinstance(text, HiddenText):
            return text._read()  # noqa: SLF001 - a public name would be the templates'
        return text if text.isascii() else text.translate(self.originals)


class HiddenText(str):
    """A text, some of whose characters stand for others.

    It has no public names but those of a text: templates use it.
    """

    __slots__ = ("_alphabet", "_plain")
    _alphabet: Alphabet
    _plain: str | None

    def __new__(cls, text: str, alphabet: Alphabet | None = None, plain: str | None = None) -> HiddenText:
        """A text of characters that stand for others.

        Args:
            text: as a template prints it.
            alphabet: of this rendering. Jinja makes one without when it formats; that is a text as any other.
            plain: the text itself, where it is known.
        """
        if alphabet is None:
            return str.__str__(text)  # type: ignore[return-value]
        made = super().__new__(cls, text)
        made._alphabet, made._plain = alphabet, plain
        return made

    def _read(self) -> str:
        if self._plain is None:
            self._plain = str.__str__(self).translate(self._alphabet.originals)
        return self._plain

    def _cut(self, start: int, end: int) -> HiddenText:
        return HiddenText(str.__getitem__(self, slice(start, end)), self._alphabet, self._read()[start:end])

    def _in_pieces(self, pieces: list[str], separator: int = 0) -> list[str]:
        found, place = [], 0
        for piece in pieces:
            place = place if separator else self._read().index(piece, place)
            found.append(self._cut(place, place + len(piece)))
            place += len(piece) + separator
        return list(found)

    def __hash__(self) -> int:
        return hash(self._read())

    def __getitem__(self, key: SupportsIndex | slice) -> HiddenText:
        return HiddenText(str.__getitem__(self, key), self._alphabet)

    def __iter__(self) -> Iterator[str]:
        return (HiddenText(character, self._alphabet) for character in str.__iter__(self))

    def __add__(self, other: str) -> str:
        return (
            HiddenText(str.__add__(self, str.__str__(other)), self._alphabet)
            if isinstance(other, str)
            else NotImplemented
        )

    def __radd__(self, other: str) -> str:
        return (
            HiddenText(str.__add__(str.__str__(other), self), self._alphabet)
            if isinstance(other, str)
            else NotImplemented
        )

    def lstrip(self, chars: str | None = None, /) -> HiddenText:
        plain = self._read()
        kept = plain.lstrip(chars if chars is None else self._alphabet.read(chars))
        return self._cut(len(plain) - len(kept), len(plain))

    def rstrip(self, chars: str | None = None, /) -> HiddenText:
        return self._cut(0, len(self._read().rstrip(chars if chars is None else self._alphabet.read(chars))))

    def strip(self, chars: str | None = None, /) -> HiddenText:
        return self.rstrip(chars).lstrip(chars)

    def removeprefix(self, prefix: str, /) -> HiddenText:
        return self._cut(len(prefix) if self.startswith(prefix) else 0, len(self))

    def removesuffix(self, suffix: str, /) -> HiddenText:
        return self._cut(0, len(self) - (len(suffix) if self.endswith(suffix) else 0))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        separator = None if sep is None else self._alphabet.read(sep)
        return self._in_pieces(self._read().split(separator, maxsplit), len(separator or ""))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        separator = None if sep is None else self._alphabet.read(sep)
        return self._in_pieces(self._read().rsplit(separator, maxsplit), len(separator or ""))

    def splitlines(self, keepends: bool = False) -> list[str]:
        return self._in_pieces(self._read().splitlines(keepends))

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        return self._around(self._read().partition(self._alphabet.read(sep)))

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        return self._around(self._read().rpartition(self._alphabet.read(sep)))

    def _around(self, parts: tuple[str, str, str]) -> tuple[str, str, str]:
        first, second = len(parts[0]), len(parts[0]) + len(parts[1])
        return self._cut(0, first), self._cut(first, second), self._cut(second, len(self))

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:
            return HiddenText(str.replace(self, "", new, count), self._alphabet)
        return HiddenText(str.join(str.__str__(new), self.split(old, count)), self._alphabet)


def _asked(name: str) -> Callable[..., Any]:
    """A method that answers for the text itself."""
    method = getattr(str, name)

    @functools.wraps(method)
    def ask(self: HiddenText, *given: Any) -> Any:
        read = self._alphabet.read
        plain = (
            read(item)
            if isinstance(item, str)
            else tuple(map(read, item))
            if isinstance(item, tuple) and all(isinstance(one, str) for one in item)
            else item
            for item in given
        )
        return method(self._read(), *plain)

    return ask


def _changed(name: str) -> Callable[..., Any]:
    """A method that makes another text of the text itself, all of which is hidden."""
    method = getattr(str, name)

    @functools.wraps(method)
    def change(self: HiddenText) -> HiddenText:
        return self._alphabet.hide(method(self._read()))

    return change


_QUESTIONS = (
    *("__contains__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "count", "startswith", "endswith"),
    *("find", "index", "rfind", "rindex", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier"),
    *("islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper"),
)
_CHANGES = ("__repr__", "capitalize", "casefold", "lower", "swapcase", "title", "upper")
for _name in _QUESTIONS:
    setattr(HiddenText, _name, _asked(_name))
for _name in _CHANGES:
    setattr(HiddenText, _name, _changed(_name))


def joined(texts: Sequence[str]) -> str:
    """Texts, hidden or not, as one."""
    hidden = next((text for text in texts if isinstance(text, HiddenText)), None)
    made = "".join(texts)
    return made if hidden is None else HiddenText(made, hidden._alphabet)  # noqa: SLF001 - as above


class PrintedWholeError(Exception):
    """A template prints a list of parts as it is, since it expects a text in its place."""


class MessagePart(dict[str, Any]):
    """A part of a message's content, which cannot be printed whole."""

    def __repr__(self) -> str:
        raise PrintedWholeError


def require_printable(value: dict[Any, Any]) -> dict[Any, Any]:
    """A mapping that may be printed.

    Raises:
        PrintedWholeError: it is a :class:`MessagePart`.
    """
    if isinstance(value, MessagePart):
        repr(value)
    return value


def holds_hidden(value: Any) -> bool:
    """Whether a value as JSON has them holds a hidden text."""
    if isinstance(value, dict):
        return any(map(holds_hidden, value)) or any(map(holds_hidden, value.values()))
    return any(map(holds_hidden, value)) if isinstance(value, (list, tuple)) else isinstance(value, HiddenText)
