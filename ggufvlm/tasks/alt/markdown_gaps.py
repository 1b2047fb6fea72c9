"""Images of Markdown that have no alternative text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ggufvlm.tasks.alt.gap import Gap
from ggufvlm.tasks.alt.html_gaps import html_gaps

_LINE_END = re.compile(r"\r\n?|\n")  # as the parser counts lines
_AT = "ggufvlm-at"


def markdown_gaps(text: str) -> list[Gap]:
    """Every ``![](image)`` and ``![][reference]`` with nothing in it, and the ``<img>`` of HTML in the text.

    Found by a CommonMark parser, so what stands in code is no image.
    """
    lines = [*_lines(text)]
    gaps: list[Gap] = []
    ends: dict[int, int] = {}  # where the last cell of a table's row ended
    for token in _parser().parse(text):
        if token.type == "html_block" and token.map:
            start, end = lines[token.map[0]][0], _end(lines, token.map[1], text)
            gaps += [Gap(gap.at + start, gap.source, gap.kind) for gap in html_gaps(text[start:end])]
        elif token.type == "inline" and token.map:
            gaps += _in_block(token, lines, ends)
    # What could not be traced back to its place, in a block of unusual indentation, is left as it is.
    return [gap for gap in gaps if text[: gap.at].endswith("![" if gap.kind == "markdown" else _tag(text, gap.at))]


def _tag(text: str, at: int) -> str:
    start = text[max(0, at - 4) : at]
    return start if start.lower() == "<img" else "<img"


def _parser() -> Any:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import html_inline, image

    def noting(rule: Any) -> Any:
        """The rule, with a note in each token of where it began."""

        def run(state: Any, silent: bool) -> bool:
            at, n_before = state.pos, len(state.tokens)
            found = bool(rule(state, silent))
            if found and not silent and len(state.tokens) > n_before:
                state.tokens[-1].meta[_AT] = at
            return found

        return run

    parser = MarkdownIt("commonmark").enable("table")
    parser.inline.ruler.at("image", noting(image))
    parser.inline.ruler.at("html_inline", noting(html_inline))
    return parser


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its place in the text, without its end."""
    start = 0
    for match in _LINE_END.finditer(text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


def _end(lines: list[tuple[int, str]], number: int, text: str) -> int:
    return lines[number][0] if number < len(lines) else len(text)


def _in_block(token: Any, lines: list[tuple[int, str]], ends: dict[int, int]) -> Iterator[Gap]:
    places = _places(token, lines, ends)
    for child in token.children or ():
        at = child.meta.get(_AT)
        if at is None:
            continue
        before = token.content[:at]
        place = places[before.count("\n")]
        if place is None:
            continue
        before = before[before.rfind("\n") + 1 :]
        if child.type == "image":
            if not child.content.strip() and child.attrs.get("src"):
                yield Gap(place.of(before) + len("!["), str(child.attrs["src"]), "markdown")
        else:
            for gap in html_gaps(child.content):
                yield Gap(place.of(before + child.content[: gap.at]), gap.source, gap.kind)


class _LinePlace(NamedTuple):
    """Where a line of a block's contents begins in the text.

    Attributes:
        n_escapes: characters that stand before each ``|`` of it: in tables, a backslash.
    """

    start: int
    n_escapes: int

    def of(self, before: str) -> int:
        """The place in the text behind some characters of the line."""
        return self.start + len(before) + self.n_escapes * before.count("|")


def _places(token: Any, lines: list[tuple[int, str]], ends: dict[int, int]) -> list[_LinePlace | None]:
    """Where in the text each line of a block's contents begins: behind its quote marks, bullets and indentation."""
    places: list[_LinePlace | None] = []
    for number, content in enumerate(token.content.split("\n"), token.map[0]):
        place = _place(content, *lines[number], ends.get(number, 0)) if number < len(lines) else None
        places.append(place)
        if place is not None:
            ends[number] = place.of(content) - lines[number][0]
    return places


def _place(content: str, start: int, line: str, searched: int) -> _LinePlace | None:
    for n_escapes, spelled in enumerate((content, content.replace("|", r"\|"))):
        column = line.find(spelled, searched)
        if column >= 0:
            return _LinePlace(start + column, n_escapes)
    return None
