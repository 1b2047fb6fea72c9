"""What was found in an image, as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ggufvlm.grounding.detections import Detections

_SIDES = ("left", "top", "right", "bottom", "width", "height")
_FEWEST_COLUMNS = 12
"""Of a terminal for the names of objects."""
_WIDEST = 1000


def draw_table(found: Detections, console: Console) -> None:
    """Draw it, without width and height where they have no room; on the narrowest terminals as lines."""
    from rich.measure import Measurement
    from rich.text import Text

    unbounded = console.options.update(max_width=_WIDEST)
    for table in (_table(found, _SIDES), _table(found, _SIDES[:4])):
        if Measurement.get(console, unbounded, table).minimum <= console.width:
            console.print(table)
            return
    console.print(Text(f"{found.source}  {found.width}x{found.height}", style="dim"))
    for name, *numbers in _rows(found, 4):
        console.print(Text(f"{name}: {' '.join(numbers)}"))


def _table(found: Detections, sides: tuple[str, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{found.source}  {found.width}x{found.height}")
    table = Table(title=title, title_justify="left", title_style="dim")
    table.add_column("object", min_width=_FEWEST_COLUMNS)
    for side in sides if found.boxes else ("x", "y"):
        table.add_column(side, justify="right", no_wrap=True)
    for name, *numbers in _rows(found, len(sides)):
        table.add_row(Text(name), *numbers)
    return table


def _rows(found: Detections, n_numbers: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for box in found.boxes:
        numbers = (box.x0, box.y0, box.x1, box.y1, box.width, box.height)[:n_numbers]
        rows.append((box.label, *(f"{number:.0f}" for number in numbers)))
    return rows + [(point.label, f"{point.x:.0f}", f"{point.y:.0f}") for point in found.points]
