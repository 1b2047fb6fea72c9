"""Classes of images as bars, JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ggufvlm.cli.ask.ask import Complaints
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console

if TYPE_CHECKING:
    from ggufvlm.errors import GGUFVLMError
    from ggufvlm.tasks.classify import Classification, ClassifyParams

_BAR = 24  # columns of a full bar
_UNLIKELY = 0.01


@dataclass(slots=True)
class ClassWriter:
    """Writes results to stdout as they come, errors and doubts to stderr.

    Attributes:
        several: each image is named.
        n_shown: images whose classes were shown.
        complaints: about the others.
    """

    form: Literal["bars", "json", "csv"]
    params: ClassifyParams
    output: OutputOptions
    several: bool
    n_shown: int = 0
    complaints: Complaints = field(default_factory=lambda: Complaints(console.say))
    _has_doubted: bool = False

    def result(self, found: Classification) -> None:
        """Show the classes of an image."""
        self._show(found)
        self.n_shown += 1
        if found.coverage < _UNLIKELY and not self.output.quiet and not self._has_doubted:
            self._has_doubted = True  # of a thousand images it would be the same a thousand times
            console.say(
                f"warning: {found.source}: the model would have answered with one of the labels in only "
                f"{found.coverage:.2%} of cases; another question (-p) or other labels may suit it better"
            )

    def _show(self, found: Classification) -> None:
        if self.form == "json":
            console.print_plainly(json.dumps(found.to_dict(), ensure_ascii=False))
        elif self.form == "csv":
            self._csv(found)
        else:
            self._bars(found)

    def error(self, source: str, error: GGUFVLMError) -> None:
        """Name an image that could not be classified."""
        if self.form == "json":
            console.print_plainly(json.dumps({"source": source, "error": str(error)}, ensure_ascii=False))
        self.complaints.add(error, source)

    def _csv(self, found: Classification) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if not self.n_shown:
            writer.writerow(["source", "label", *self.params.labels, "coverage"])
        of = {item.label: item.probability for item in found.classes}
        shares = [f"{of[label]:.6g}" for label in self.params.labels]
        writer.writerow([found.source, found.best.label, *shares, f"{found.coverage:.6g}"])
        sys.stdout.flush()

    def _bars(self, found: Classification) -> None:
        wide = max(len(item.label) for item in found.classes)
        if not console.can_draw(self.output):
            lines = [f"{item.label:<{wide}}  {item.probability:.4f}" for item in found.classes]
            console.print_plainly("\n".join([*self._title(found), *lines]))
            return
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for item in found.classes:
            is_best = item is found.best or (self.params.multi and item.probability > 0.5)
            style = "bold green" if is_best else "dim"
            table.add_row(
                Text(item.label, style="bold" if is_best else ""),
                Text(bar(item.probability), style=style),
                Text(f"{item.probability:6.1%}", style="" if is_best else "dim"),
            )
        screen = console.make_console(self.output)
        for title in self._title(found):
            screen.print(Text(title))
        screen.print(table)

    def _title(self, found: Classification) -> list[str]:
        return [found.source] if self.several else []


def bar(share: float, columns: int = _BAR) -> str:
    """A bar of eighths of a character cell, always ``columns`` wide."""
    eighths = round(share * columns * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[rest] * (rest > 0)).ljust(columns)
