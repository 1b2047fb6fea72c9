"""Tables in the ways models write them -> rows of cells -> Markdown, or lines with tabs. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser

Rows = list[list[str]]

_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_MOST_COLUMNS = 1000  # a colspan beyond that is damage


def html_to_text(text: str) -> str:
    """A text whose HTML tables have become lines with tabs between the cells."""
    return _TABLE.sub(lambda match: _on_its_own(to_lines(read_html(match[0])), match), text)


def read_html(table: str) -> Rows:
    """The rows of an HTML table; a cell over several columns is followed by empty ones."""
    reader = _TableReader()
    reader.feed(table)
    reader.close()
    return reader.rows


def to_lines(rows: Rows) -> str:
    """A line for each row, with tabs between its cells."""
    return "\n".join("\t".join(_one_line(cell) for cell in row) for row in rows)


def to_markdown(rows: Rows) -> str:
    """A table in Markdown; its first row is the head."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    head, *body = [_markdown_row(row, width) for row in rows]
    return "\n".join([head, "|" + " --- |" * width, *body])


def _markdown_row(row: Sequence[str], width: int) -> str:
    cells = [_one_line(cell).replace("|", "\\|") for cell in row] + [""] * (width - len(row))
    return f"| {' | '.join(cells)} |"


def _one_line(cell: str) -> str:
    return " ".join(cell.split())


def _on_its_own(lines: str, match: re.Match[str]) -> str:
    """With line ends around it where the table stood within a line."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    start = "\n" if before and not before.endswith("\n") else ""
    return start + lines + ("\n" if after and not after.startswith("\n") else "")


class _TableReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: Rows = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
            self._in_cell = False
        elif tag in ("td", "th"):
            self._open_cell(dict(attrs).get("colspan"))
        elif tag == "br" and self._in_cell:
            self.handle_data(" ")

    def _open_cell(self, span: str | None) -> None:
        if not self.rows:
            self.rows.append([])
        n = int(span) if span and span.isdecimal() and len(span) < 5 else 1
        self.rows[-1] += [""] * max(1, min(n, _MOST_COLUMNS))
        self._at = -max(1, min(n, _MOST_COLUMNS))
        self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][self._at] += unescape(data)


_OTSL = re.compile(r"<(fcel|ecel|lcel|ucel|xcel|ched|rhed|srow|nl)>")


def read_otsl(text: str) -> Rows:
    """The rows of a table in OTSL, as in DocTags: ``<ched>A<ched>B<nl><fcel>1<ecel><nl>``.

    ``lcel``, ``ucel`` and ``xcel`` belong to the cell on their left, above, or both; ``ecel`` is empty.
    """
    rows: Rows = [[]]
    pieces = _OTSL.split(text)
    for kind, content in zip(pieces[1::2], pieces[2::2], strict=True):
        if kind == "nl":
            rows.append([])
        else:
            rows[-1].append(content.strip() if kind in ("fcel", "ched", "rhed", "srow") else "")
    return [row for row in rows if row]
