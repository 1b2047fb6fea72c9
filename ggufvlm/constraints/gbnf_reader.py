"""Reads llama.cpp's GBNF: its ``grammars/README.md`` describes the format, ``src/llama-grammar.cpp`` reads it there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ggufvlm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Text:
    """These characters, one behind the other."""

    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of some ranges of code points, both ends included, or of none of them; no ranges: any."""

    ranges: tuple[tuple[int, int], ...] | None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """Another rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part several times; ``most`` None: as often as you like."""

    node: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Several:
    """Parts one behind the other, or one of them."""

    parts: tuple[Node, ...]
    is_choice: bool


Node = Text | Chars | Reference | Repeat | Several

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+|\#[^\r\n]*)
      | (?P<newline>\r\n|\r|\n)
      | (?P<assign>::=)
      | (?P<name>[A-Za-z0-9_-]+)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<chars>\[(?:[^\]\\]|\\.)*\])
      | (?P<times>[*+?]|\{\s*\d+\s*(?:,\s*(?:\d+\s*)?)?\})
      | (?P<mark>[()|.])
      | (?P<token>!?<[^>\r\n]*>)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_LETTERS = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]"}


def read_gbnf(text: str) -> dict[str, Node]:
    """The rules of a grammar, by name.

    Raises:
        UsageError: it is not GBNF; the message names the line.
    """
    return _Reader(text).rules()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self._error(position, f"cannot read {text[position : position + 12]!r}")
            if match.lastgroup != "blank":
                self._tokens.append((match.lastgroup, match[0], position))
            position = match.end()
        self._tokens.append(("end", "", len(text)))

    def rules(self) -> dict[str, Node]:
        """All of them."""
        rules: dict[str, Node] = {}
        self._skip_newlines()
        while self._kind != "end":
            name = self._take("name", "the name of a rule")
            if name in rules:
                raise self._error(self._tokens[self._next - 1][2], f"the rule {name!r} is there twice")
            self._take("assign", "::=")
            self._skip_newlines()
            rules[name] = self._choice(nested=False)
            if self._kind != "end":
                self._take("newline", "the end of the line")
            self._skip_newlines()
        return rules

    def _choice(self, *, nested: bool) -> Node:
        parts = [self._sequence(nested=nested)]
        while self._is("mark", "|"):
            self._next += 1
            self._skip_newlines()
            parts.append(self._sequence(nested=nested))
        return parts[0] if len(parts) == 1 else Several(tuple(parts), is_choice=True)

    def _sequence(self, *, nested: bool) -> Node:
        parts: list[Node] = []
        while True:
            if nested:
                self._skip_newlines()
            if self._kind == "times" and parts:
                parts[-1] = self._repeat(parts[-1], self._take("times", ""))
                continue
            part = self._item()
            if part is None:
                return parts[0] if len(parts) == 1 else Several(tuple(parts), is_choice=False)
            parts.append(part)

    def _item(self) -> Node | None:
        kind, value, position = self._tokens[self._next]
        if kind == "token":
            raise self._error(position, f"{value}: tokens cannot be referred to here", "a Lark grammar can")
        if kind not in ("name", "text", "chars") and value not in ("(", "."):
            return None
        self._next += 1
        if kind == "name":
            return Reference(value)
        if kind == "text":
            return Text("".join(map(chr, self._code_points(value[1:-1], position + 1))))
        if kind == "chars":
            return self._char_class(value[1:-1], position + 1)
        if value == ".":
            return Chars(None)
        inside = self._choice(nested=True)
        if not self._is("mark", ")"):
            raise self._error(position, "this ( is never closed")
        self._next += 1
        return inside

    @staticmethod
    def _repeat(node: Node, times: str) -> Node:
        if times in "*+?":
            return Repeat(node, 1 if times == "+" else 0, 1 if times == "?" else None)
        least, comma, most = (part.strip() for part in times[1:-1].partition(","))
        return Repeat(node, int(least), int(most) if most else None if comma else int(least))

    def _char_class(self, inside: str, position: int) -> Chars:
        negated = inside.startswith("^")
        body = inside[negated:]
        # a range's dash is a plain one: "\x2d" is not
        pieces = re.findall(r"\\x..|\\u.{4}|\\U.{8}|\\.|.", body, re.DOTALL)
        points = self._code_points(body, position)
        ranges: list[tuple[int, int]] = []
        index = 0
        while index < len(points):
            is_range = index + 2 < len(points) and pieces[index + 1] == "-"
            low, high = points[index], points[index + 2 if is_range else index]
            if low > high:
                raise self._error(position, f"the range {chr(low)}-{chr(high)} runs backwards")
            ranges.append((low, high))
            index += 3 if is_range else 1
        if not ranges:
            raise self._error(position, "[] has no characters")
        return Chars(tuple(ranges), negated)

    def _code_points(self, text: str, position: int) -> list[int]:
        points: list[int] = []
        at = 0
        while at < len(text):
            if text[at] != "\\":
                points.append(ord(text[at]))
                at += 1
                continue
            match = _ESCAPE.match(text, at)
            digits = match and (match[1] or match[2] or match[3])
            if match is None or (not digits and match[4] not in _LETTERS):
                raise self._error(position + at, f"unknown escape {text[at : at + 2]}")
            points.append(int(digits, 16) if digits else ord(_LETTERS[match[4]]))
            if points[-1] > 0x10FFFF or 0xD800 <= points[-1] < 0xE000:
                raise self._error(position + at, f"{match[0]} is no character")
            at = match.end()
        return points

    @property
    def _kind(self) -> str:
        return self._tokens[self._next][0]

    def _is(self, kind: str, value: str) -> bool:
        return self._tokens[self._next][:2] == (kind, value)

    def _take(self, kind: str, wanted: str) -> str:
        found, value, position = self._tokens[self._next]
        if found != kind:
            raise self._error(
                position, f"expected {wanted}, found {value!r}" if value.strip() else f"expected {wanted}"
            )
        self._next += 1
        return value

    def _skip_newlines(self) -> None:
        while self._kind == "newline":
            self._next += 1

    def _error(self, position: int, message: str, hint: str | None = None) -> UsageError:
        line = self._text.count("\n", 0, position) + 1
        return UsageError(f"the GBNF grammar, line {line}: {message}", hint=hint)
