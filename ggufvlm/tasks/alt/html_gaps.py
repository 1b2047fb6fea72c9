"""Images of HTML that have no alternative text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ggufvlm.tasks.alt.gap import Gap

_VOID_ELEMENTS = "area base br col embed hr img input link meta param source track wbr"
_VOID = frozenset(_VOID_ELEMENTS.split())
_DECORATIVE_ROLES = ("presentation", "none")
_NAMES = ("alt", "aria-label", "aria-labelledby")
_LAZY = ("data-src", "data-original", "data-lazy-src")
_ONE_PIXEL = re.compile(r"\s*[01](px)?\s*")

Attributes = dict[str, str]


def html_gaps(text: str) -> list[Gap]:
    """Every ``<img>`` without ``alt`` that is not marked as decoration.

    Decoration is what has an empty ``alt``, ``role="presentation"``, ``hidden`` or ``aria-hidden="true"``, also on
    an element around it, and what is at most one pixel wide and high.
    """
    finder = _Finder(text)
    finder.feed(text)
    finder.close()
    return finder.gaps


class _Finder(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.gaps: list[Gap] = []
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._open: list[tuple[str, bool]] = []  # elements, and whether they are hidden

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        hidden = _is_hidden(given)
        if tag == "img" and not hidden and not any(is_hidden for _, is_hidden in self._open):
            self._look(given)
        if tag not in _VOID:
            self._open.append((tag, hidden))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                return

    def _look(self, given: Attributes) -> None:
        source = _source(given)
        if source and not _is_named(given) and not _is_dot(given):
            line, column = self.getpos()
            # behind the name of the tag: at its end an unquoted address might take the text in
            self.gaps.append(Gap(self._starts[line - 1] + column + len("<img"), source, "html"))


def _is_hidden(given: Attributes) -> bool:
    return given.get("aria-hidden", "").strip().lower() == "true" or "hidden" in given


def _is_named(given: Attributes) -> bool:
    """Whether it has a text, or someone has decided that it needs none."""
    return any(name in given for name in _NAMES) or given.get("role", "").strip().lower() in _DECORATIVE_ROLES


def _is_dot(given: Attributes) -> bool:
    return all(_ONE_PIXEL.fullmatch(given.get(side, "")) for side in ("width", "height"))


def _source(given: Attributes) -> str:
    source = given.get("src", "").strip()
    if not source or source.startswith("data:"):  # a placeholder, until a script puts the image there
        source = next((given[name].strip() for name in _LAZY if given.get(name)), source)
    return source or given.get("srcset", "").strip().partition(" ")[0].rstrip(",")
