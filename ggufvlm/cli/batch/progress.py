"""How far a batch is, on stderr: a bar on a terminal, a line every few seconds elsewhere, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.image_warnings import image_warnings_through

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bars

    from ggufvlm.batch.item import Item
    from ggufvlm.batch.journal.rows import Row
    from ggufvlm.batch.run.run import Progress

_LINE_EVERY, _JSON_EVERY = 5.0, 1.0  # seconds
_MOST_ERRORS_SHOWN = 20


def rate(progress: Progress) -> float:
    """Inputs the model answered per second."""
    elapsed = time.monotonic() - progress.began
    return progress.answered / elapsed if elapsed > 0 else 0.0


def seconds_left(progress: Progress) -> float | None:
    """As long as it will take if it goes on like this."""
    speed = (progress.done - progress.kept - progress.skipped) / max(1e-9, time.monotonic() - progress.began)
    if progress.total is None or not speed:
        return None
    return max(0, progress.total - progress.done) / speed


class BatchProgress:
    """Tells how far the run is. ``with`` it, and give it every state.

    Args:
        output: what is shown.
        as_json: as JSON lines.
        beside_rows: rows go to stdout; where that is a terminal, no bar is drawn between them.
    """

    def __init__(self, output: OutputOptions, *, as_json: bool, beside_rows: bool = False) -> None:
        self._json = as_json
        self._quiet = output.quiet and not as_json
        self._draws = console.can_draw(output, stderr=True) and not (self._quiet or as_json or output.debug)
        if beside_rows and sys.stdout.isatty():
            self._draws = False
        self._output = output
        self._last = time.monotonic()
        self._bars: Bars | None = None
        self._task: Any = None
        self._n_errors_shown = self._n_warnings_shown = 0
        self._warnings = image_warnings_through(self._on_warning)

    def __call__(self, progress: Progress) -> None:
        """Show a state, if it is time to."""
        if self._draws:
            self._draw(progress)
        elif not self._quiet and time.monotonic() - self._last >= (_JSON_EVERY if self._json else _LINE_EVERY):
            self._last = time.monotonic()
            console.say(json.dumps(_state(progress)) if self._json else _line(progress))

    def on_row(self, _item: Item, row: Row | None) -> None:
        """Name what went wrong, the first few times."""
        if row is None or row["error"] is None or self._quiet or self._json:
            return
        text = row["error"]["text"]
        self.on_problem(text if row["id"] in text else f"{row['id']}: {text}")

    def on_warning(self, text: str) -> None:
        """What is to be known of the model."""
        if not (self._quiet or self._json):
            self.say(f"warning: {text}")

    def on_problem(self, text: str) -> None:
        """Name what could not be done with an answer, the first few times."""
        if self._quiet or self._json:
            return
        self._n_errors_shown += 1
        if self._n_errors_shown <= _MOST_ERRORS_SHOWN:
            self.say(f"error: {text}")
        elif self._n_errors_shown == _MOST_ERRORS_SHOWN + 1:
            self.say("more errors are not shown: see the output")

    def pause(self) -> None:
        """Take the bar away until the next state: somebody is asked something."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _on_warning(self, text: str) -> None:
        if self._quiet or self._json:
            return
        self._n_warnings_shown += 1
        if self._n_warnings_shown <= _MOST_ERRORS_SHOWN:
            self.say(text)
        elif self._n_warnings_shown == _MOST_ERRORS_SHOWN + 1:
            self.say("more warnings are not shown")

    def end(self, progress: Progress, *, finished: bool) -> None:
        """The last state, as JSON if that was asked for."""
        if self._json:
            console.say(json.dumps(_state(progress) | {"finished": finished}))

    def say(self, text: str) -> None:
        """A line on stderr, above the bar."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            console.say(text)

    def _draw(self, progress: Progress) -> None:
        if self._bars is None:
            self._start(progress)
        assert self._bars is not None
        errors = f", {progress.errors} errors" if progress.errors else ""
        text = f"{rate(progress):.2f}/s{errors}"
        self._bars.update(self._task, completed=progress.done, total=progress.total, text=text)

    def _start(self, progress: Progress) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
            console=console.make_console(self._output, stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=progress.total, text="")
        self._bars.start()

    def __enter__(self) -> BatchProgress:
        self._warnings.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._warnings.__exit__(kind, error, trace)
        if self._bars is not None:
            self._bars.stop()


def _state(progress: Progress) -> dict[str, Any]:
    left = seconds_left(progress)
    return {
        "total": progress.total,
        "done": progress.done,
        "kept": progress.kept,
        "copied": progress.copied,
        "answered": progress.answered,
        "skipped": progress.skipped,
        "errors": progress.errors,
        "cut": progress.cut,
        "per_second": round(rate(progress), 3),
        "seconds_left": None if left is None else round(left, 1),
    }


def _line(progress: Progress) -> str:
    left = seconds_left(progress)
    total = "" if progress.total is None else f" of {progress.total}"
    remaining = "" if left is None else f", {duration(left)} left"
    return f"{progress.done}{total}, {rate(progress):.2f}/s{remaining}, {progress.errors} errors"


def counted(number: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Such as ``1 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
