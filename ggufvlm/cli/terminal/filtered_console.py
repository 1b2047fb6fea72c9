"""A Rich console that draws foreign texts, and obeys none of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style

from ggufvlm.cli.terminal.streams import harmless


class FilteredConsole(Console):
    """Rich takes five control characters out of a text, and not the one that begins escape sequences."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is to be drawn; those that are no controls of Rich's own are made harmless."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), _harmless_style(segment.style))


def _harmless_style(style: Style | None) -> Style | None:
    """A link's address is written into an escape sequence."""
    if style is None or style.link is None or style.link.isprintable():
        return style
    return style.update_link(harmless(style.link).replace("\n", ""))
