"""An image on the terminal: by Kitty's or iTerm2's protocol, as Sixel, else in half blocks."""

from __future__ import annotations

import base64
import os
import sys
from typing import Literal

from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console, streams
from ggufvlm.media import Image, resize, to_png, to_sixel

Protocol = Literal["kitty", "iterm2", "sixel", "blocks"]
VARIABLE = "GGUFVLM_GRAPHICS"
_CHUNK = 4096
_CELL = (10, 20)  # pixels of a character, where the terminal does not say
_MAX_COLUMNS, _MAX_ROWS = 64, 16


def find_protocol() -> Protocol:
    """``GGUFVLM_GRAPHICS``, else what the terminal says of itself in the environment. It is not asked: an answer that
    comes late would end up in the next message."""
    wished = os.environ.get(VARIABLE, "")
    for protocol in ("kitty", "iterm2", "sixel", "blocks"):
        if wished == protocol:
            return protocol
    term, program = os.environ.get("TERM", ""), os.environ.get("TERM_PROGRAM", "")
    if term.startswith(("screen", "tmux")) or os.environ.get("TMUX"):
        return "blocks"
    if "kitty" in term or "ghostty" in term or os.environ.get("KITTY_WINDOW_ID") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or os.environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    if term.startswith(("foot", "mlterm", "yaft")) or os.environ.get("XTERM_SIXEL"):
        return "sixel"
    return "blocks"


def draw(image: Image, output: OutputOptions) -> None:
    """Draw on stderr."""
    protocol = find_protocol() if sys.stderr.isatty() else "blocks"
    columns, rows = _cells(image, output)
    if protocol == "blocks":
        console.draw_image(image, output, max_columns=_MAX_COLUMNS, max_rows=_MAX_ROWS)
        return
    if protocol == "sixel":
        drawing = to_sixel(_at_most(image, columns * _CELL[0]))
    else:
        sequence = kitty_sequence if protocol == "kitty" else iterm2_sequence
        drawing = sequence(to_png(_at_most(image, columns * _CELL[0] * 2)), columns, rows)
    stream = streams.drawing(sys.stderr)
    stream.write(drawing + "\n")
    stream.flush()


def _cells(image: Image, output: OutputOptions) -> tuple[int, int]:
    """Columns and rows that show the image in its proportions, no larger than it is."""
    width = console.make_console(output, stderr=True).width
    columns = max(1, min(_MAX_COLUMNS, width - 1, -(-image.width // _CELL[0])))
    rows = max(1, round(columns * _CELL[0] * image.height / image.width / _CELL[1]))
    if rows > _MAX_ROWS:
        columns, rows = max(1, columns * _MAX_ROWS // rows), _MAX_ROWS
    return columns, rows


def _at_most(image: Image, width: int) -> Image:
    if image.width <= width:
        return image
    return resize(image, width, max(1, image.height * width // image.width))


def kitty_sequence(png: bytes, columns: int, rows: int) -> str:
    """Transmit and show, the cursor behind it (https://sw.kovidgoyal.net/kitty/graphics-protocol)."""
    data = base64.b64encode(png).decode()
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    first = f"a=T,f=100,q=2,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{first if place == 0 else ''}m={int(place < len(chunks) - 1)};{chunk}\x1b\\"
        for place, chunk in enumerate(chunks)
    )


def iterm2_sequence(png: bytes, columns: int, rows: int) -> str:
    """Show inline (https://iterm2.com/documentation-images.html)."""
    data = base64.b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)};width={columns};height={rows}:{data}\a"
