"""Images of HTML that have no alternative text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ggufvlm.tasks.alt.gap import Gap

_VOID_ELEMENTS = "area base br col embed hr img input link meta param source track wbr"
_VOID = frozenset(_VOID_ELEMENTS.split())
_DECORATIVE_ROLES = ("presentation", "none")
_NAMES = ("alt", "aria-label", "aria-labelledby")
_LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-original-src", "data-hi-res-src")
_LAZY_SETS = ("data-srcset", "data-lazy-srcset")
_BLOCK_ELEMENTS = (
    "address article aside blockquote details div dl fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header "
    "hr main menu nav ol p pre section table ul"
)
_BLOCK_ELEMENTS = (
    "address article aside blockquote details div dl fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header "
    "hr main menu nav ol p pre section table ul"
)
_BLOCKS = frozenset(_BLOCK_ELEMENTS.split())
_ENDED_BY = {
    "p": _BLOCKS,
    "li": frozenset({"li"}),
    **dict.fromkeys(("dt", "dd"), frozenset({"dt", "dd"})),
    **dict.fromkeys(("td", "th"), frozenset({"td", "th", "tr", "tbody", "tfoot"})),
    "tr": frozenset({"tr", "tbody", "tfoot"}),
    **dict.fromkeys(("thead", "tbody"), frozenset({"tbody", "tfoot"})),
    "option": frozenset({"option", "optgroup"}),
}
"""Elements whose end tag may be left out, and the start tags that end them (HTML Living Standard, 13.1.2.4)."""
_SCOPES = frozenset(["ul", "ol", "dl", "table", "select", "button", "object", "template"])
_ADDRESS = re.compile(r"^(?!data:).*[./]", re.DOTALL)
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
        self._of_picture = ""  # the first source of the <picture> around
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._open: list[tuple[str, bool]] = []  # elements, and whether they are hidden

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        hidden = _is_hidden(given)
        self._end_unclosed(tag)
        if tag == "picture":
            self._of_picture = ""
        elif tag == "source":
            self._of_picture = self._of_picture or _source(given)
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

    def _end_unclosed(self, tag: str) -> None:
        for place in range(len(self._open) - 1, -1, -1):
            name = self._open[place][0]
            if tag in _ENDED_BY.get(name, ()):
                del self._open[place:]
            elif name in _SCOPES:
                return

    def _is_in(self, tag: str) -> bool:
        return any(name == tag for name, _ in self._open)

    def _look(self, given: Attributes) -> None:
        source = _source(given)
        if not source or source[:5].lower() == "data:":
            source = (self._of_picture if self._is_in("picture") else "") or source
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
    """The image that is shown in the end: what lies in ``src`` may stand there until a script replaces it."""
    sets = [_first_of(given[name]) for name in _LAZY_SETS if name in given]
    lazy = [given[name].strip() for name in _LAZY if name in given] + sets
    found = next((source for source in lazy if _ADDRESS.search(source)), "")  # data-lazy="true" is none
    src, first = given.get("src", "").strip(), _first_of(given.get("srcset", ""))
    if found or not (src.startswith("data:") and first):
        return found or src or first
    return first


def _first_of(candidates: str) -> str:
    return candidates.strip().partition(" ")[0].rstrip(",")
