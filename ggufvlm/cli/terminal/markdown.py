"""Markdown that grows on a terminal: settled lines are printed once, only the end is redrawn."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console
    from rich.live import Live
    from rich.markdown import Markdown
    from rich.text import Text


_CODE_THEME = "ansi_light"
"""The terminal's own plain colours on its own background: readable on a light one and on a dark one."""


def parse(text: str) -> Markdown:
    """Text of a model as Markdown. Its line breaks are kept, and nothing that it says disappears."""
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    markdown = Markdown("", code_theme=_CODE_THEME)
    # HTML tags and link definitions are words here: nobody would see them otherwise
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("reference")
    markdown.parsed = _with_empty_blocks_as_text(parser.parse(text), text.split("\n"))
    for block in markdown.parsed:
        for inline in block.children or ():
            if inline.type == "softbreak":  # models mean the line breaks they write
                inline.type = "hardbreak"
    return markdown


def _with_empty_blocks_as_text(tokens: list[Token], lines: list[str]) -> list[Token]:
    """The answer ``3.`` is a list without a word to Markdown; it is shown as it was written."""
    from markdown_it.token import Token

    kept: list[Token] = []
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level or token.nesting == 1:
            continue
        first, is_block = block[0], token.nesting == -1
        if is_block and first.map and not any(inline.content for inline in block):
            written = "\n".join(lines[slice(*first.map)]).strip()
            words = Token("inline", "", 0, content=written, children=[Token("text", "", 0, content=written)])
            block = [Token("paragraph_open", "p", 1), words, Token("paragraph_close", "p", -1)]
        kept += block
        block = []
    return kept + block


class MarkdownStream:
    """Renders text as Markdown while it comes.

    Redrawing a whole answer flickers, and damages the scroll-back once it is higher than the screen. So lines that
    further text will hardly change scroll out as ordinary output, and at most ``WINDOW`` lines stay live. A table,
    whose columns may still widen, is printed when it is complete; until then its last lines are shown.

    Args:
        console: where to draw.
        live: False draws once, at the end.
    """

    WINDOW = 8
    INTERVAL = 0.06  # seconds between two drawings, at least
    SHARE = 0.1  # of the time may go into drawing: a long answer is drawn less often

    def __init__(self, console: Console, *, live: bool = True) -> None:
        self._console = console
        self._is_live = live and console.is_terminal
        self._text = ""
        self._n_settled = 0
        self._draw_next_at = 0.0
        self._live: Live | None = None

    def write(self, piece: str) -> None:
        """Take the next piece of the answer."""
        self._text += piece
        began = time.monotonic()
        if self._is_live and began >= self._draw_next_at:
            self._draw(self._rendered())
            now = time.monotonic()
            self._draw_next_at = now + max(self.INTERVAL, (now - began) / self.SHARE)

    def _rendered(self) -> list[Text]:
        from rich.text import Text

        lines = self._console.render_lines(parse(self._text), pad=False)
        return [Text.assemble(*((s.text, s.style or "") for s in line if not s.control)) for line in lines]

    def _n_before_open_table(self, n_lines: int) -> int:
        """Rendered lines before a table at the end of the text; all lines if there is none."""
        blocks = [block for block in parse(self._text).parsed if block.level == 0]
        if not blocks or blocks[-1].type != "table_close":
            return n_lines
        start = next(block.map[0] for block in reversed(blocks) if block.type == "table_open" and block.map)
        before = "\n".join(self._text.split("\n")[:start])
        return len(self._console.render_lines(parse(before), pad=False)) if before.strip() else 0

    def _draw(self, lines: list[Text]) -> None:
        from rich.live import Live
        from rich.text import Text

        window = max(1, min(self.WINDOW, self._console.height - 2))
        settled = max(self._n_settled, min(len(lines) - window, self._n_before_open_table(len(lines))))
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._live.start()
        for line in lines[self._n_settled : settled]:
            self._console.print(line, no_wrap=True, overflow="ignore", crop=False)
        self._n_settled = settled
        self._live.update(Text("\n").join(lines[max(settled, len(lines) - window) :]), refresh=True)

    def close(self) -> None:
        """Print what has not been printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in self._rendered()[self._n_settled :]:
            self._console.print(line, no_wrap=True, overflow="ignore", crop=False)
        self._text, self._n_settled = "", 0

    def __enter__(self) -> MarkdownStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
