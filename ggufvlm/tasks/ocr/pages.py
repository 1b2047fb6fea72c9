"""Pages of text -> one text: marks between them, words put together again, running heads taken out. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_HYPHENS = "-\u00ad\u2010"  # hyphen-minus, soft hyphen, hyphen
_LAST_WORD = re.compile(rf"(?<=[^\W\d_])[{_HYPHENS}]\Z")
_ENDS_SENTENCE = re.compile(r"[.!?:;…。！？：；][\"'”’»)\]]*\Z")
# headings, tables, lists, fences, comments and formulas of Markdown are no running text
_BLOCK = re.compile(r"\s*(#|\||<|```|\$\$|[-*+•] |\d{1,3}[.)] |\Z)")
_EDGE = 2  # lines at the head and foot of a page that may be repeated
_LEAST_PAGES = 3
_SHARE = 1 / 3  # of the pages


class Joiner:
    """Puts pages together as they come; what the next page may still change is held back.

    A word that is divided at a page's end is put together, without its hyphen if it goes on in lower case. A sentence
    that goes on in lower case stays one paragraph. All else begins a new one. Blank pages leave no trace.
    """

    def __init__(self) -> None:
        self._line = ""  # the last one, without its end

    def add(self, page: str) -> str:
        """What is certain now that this page is there."""
        page = page.strip("\n").rstrip()
        if not page.strip():
            return ""
        text = self._line + page if not self._line else _joined(self._line, page)
        start = text.rfind("\n") + 1
        self._line = text[start:]
        return text[:start]

    def end(self) -> str:
        """The rest."""
        rest, self._line = self._line, ""
        return f"{rest}\n" if rest else ""


def _joined(line: str, page: str) -> str:
    first = page.lstrip()
    if _BLOCK.match(line) or _BLOCK.match(first):
        return f"{line}\n\n{page}"
    if _LAST_WORD.search(line) and first[0].isalpha():
        return (line[:-1] if first[0].islower() else line) + first
    if first[0].islower() and not _ENDS_SENTENCE.search(line):
        return f"{line} {first}"
    return f"{line}\n\n{page}"


def drop_repeated(pages: Sequence[str]) -> list[str]:
    """The pages without their running heads and feet.

    A line among the first or the last two of a page goes if lines like it, numbers aside, stand there on at least
    three pages and a third of all.
    """
    lines = [page.split("\n") for page in pages]
    least = max(_LEAST_PAGES, _SHARE * len(pages))
    heads = Counter(key for page in lines for key in {_key(page[i]) for i in _edges(page)[0]})
    feet = Counter(key for page in lines for key in {_key(page[i]) for i in _edges(page)[1]})
    return [_without_edges(page, heads, feet, least) for page in lines]


def _without_edges(lines: list[str], heads: Counter[str], feet: Counter[str], least: float) -> str:
    first, last = _edges(lines)
    dropped = {i for i in first if heads[_key(lines[i])] >= least} | {i for i in last if feet[_key(lines[i])] >= least}
    if not dropped:
        return "\n".join(lines)
    return "\n".join(line for i, line in enumerate(lines) if i not in dropped).strip("\n")


def _edges(lines: Sequence[str]) -> tuple[list[int], list[int]]:
    """Which lines are at the head, and which at the foot; of a short page none is both."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    n = min(_EDGE, len(filled) // 2) or min(1, len(filled))
    return filled[:n], filled[len(filled) - n :]


def _key(line: str) -> str:
    """The same for lines that differ in numbers, case and blanks only."""
    return re.sub(r"\d+|\b[ivxlc]+\b", "0", " ".join(line.casefold().split()))


_LONGEST_ROUND = 2000  # characters
_LEAST_ROUNDS = 3


def without_loop(text: str) -> str:
    """A text that was cut in a loop, with what it repeats at its end said once."""
    text = text.rstrip("\n")
    kept = len(text)
    for length in range(1, min(_LONGEST_ROUND, len(text) // _LEAST_ROUNDS) + 1):
        if text.endswith(text[-length:] * _LEAST_ROUNDS):
            end = len(text)
            while end > length and text[end - 1] == text[end - 1 - length]:
                end -= 1
            kept = min(kept, end)
    return text[:kept].rstrip()


class Separator:
    """Puts pages one behind the other as they come: behind their names, or with form feeds between them.

    Args:
        mark: what stands before a page, with ``{}`` for its name, its line ends included; ``None`` puts a form feed
            between pages, as pdftotext does.
    """

    def __init__(self, mark: str | None = None) -> None:
        self._mark = mark
        self._is_first = True

    def add(self, name: str, page: str) -> str:
        """The page as it stands in the result; a blank page is its mark alone."""
        text = page.strip("\n").rstrip()
        text = f"{text}\n" if text else ""
        if self._mark is not None:
            text = ("" if self._is_first else "\n") + self._mark.format(name) + text
        elif not self._is_first:
            text = f"\f{text}"
        self._is_first = False
        return text
