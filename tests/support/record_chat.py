"""Makes the image of a chat for the README, from a real session with the built-in model.

::

    python -m tests.support.record_chat .github/chat.svg
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import ggufvlm
from tests.support.terminal import Terminal

COLUMNS, ROWS = 72, 37
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8, 17, 12
PAPER, INK = "#1e1e1e", "#d4d4d4"
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SESSION = (
    "/image blocks.png",
    "/show",
    "What is on the left?",
    "How many blocks are there?",
    "/undo",
    "Describe the image.",
    "/context",
)


def main() -> None:
    """Run the session and write what the terminal shows to the file named on the command line."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(Path(ggufvlm.__file__).parent / "demo" / "blocks-1.png", folder / "blocks.png")
        environment = {"COLORTERM": "truecolor", "GGUFVLM_CACHE_DIR": str(folder / "cache")}
        chat = Terminal(folder, "chat", "--temp", "0", columns=COLUMNS, rows=ROWS, **environment)
        for line in SESSION:
            chat.enter(line)
        drawn = draw(chat)
        assert chat.leave() == 0
    target.write_text(drawn, encoding="utf-8")


def draw(chat: Terminal) -> str:
    """The screen as SVG."""
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, ROWS * CELL_HEIGHT + 2 * MARGIN
    shapes = "\n".join(shape for row in range(ROWS) for shape in _row(chat.screen.buffer[row], row))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>\n'
        f'<g font-family="{FONT}" font-size="13" fill="{INK}" shape-rendering="crispEdges" xml:space="preserve">\n'
        f"{shapes}\n</g>\n</svg>\n"
    )


def _row(cells: Any, row: int) -> Iterator[str]:
    """Runs of cells that look alike; half blocks are drawn, whatever the font makes of them."""
    y, column = MARGIN + row * CELL_HEIGHT, 0
    for look, run in groupby((cells[x] for x in range(COLUMNS)), key=_look):
        text = "".join(cell.data for cell in run)
        x, width = MARGIN + column * CELL_WIDTH, len(text) * CELL_WIDTH
        column += len(text)
        fore, back, bold, italic, is_block = look
        if back:
            yield f'<rect x="{x}" y="{y}" width="{width}" height="{CELL_HEIGHT}" fill="{back}"/>'
        if is_block:
            yield f'<rect x="{x}" y="{y}" width="{width}" height="{CELL_HEIGHT / 2}" fill="{fore}"/>'
        elif text.strip():
            style = (' font-weight="bold"' if bold else "") + (' font-style="italic"' if italic else "")
            style += f' fill="{fore}"' if fore else ""
            words = text.rstrip()
            length = len(words) * CELL_WIDTH
            yield f'<text x="{x}" y="{y + 13}" textLength="{length}"{style}>{escape(words)}</text>'


def _look(cell: Any) -> tuple[str | None, str | None, bool, bool, bool]:
    return _color(cell.fg), _color(cell.bg), cell.bold, cell.italics, cell.data == "▀"


def _color(name: str) -> str | None:
    return None if name == "default" else f"#{name}" if len(name) == 6 else name


if __name__ == "__main__":
    main()
