"""How a download is announced, asked about and shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal.asking import confirm, has_terminal
from ggufvlm.cli.terminal.console import make_console, say
from ggufvlm.cli.terminal.interruption import Interrupted
from ggufvlm.errors import DownloadError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from ggufvlm.models.hub.plan import Download, DownloadProgress


def fetcher(*, ask: bool = True, yes: bool = False, quiet: bool = False) -> Callable[[Download], None]:
    """What :func:`~ggufvlm.models.resolve.find_model` calls to fetch a model: says what comes, asks, shows it.

    Without a terminal nobody is asked.
    """

    def fetch(download: Download) -> None:
        needs_answer = ask and not yes and has_terminal() and download.left > 0
        if not quiet or needs_answer:
            announce(download)
        if needs_answer and not confirm("download?", default=True):
            name = download.selection.name
            raise DownloadError(f"{name} is not on this machine", hint=f"ggufvlm pull {name}; --yes does not ask")
        run(download, quiet=quiet)

    return fetch


def announce(download: Download) -> None:
    """Say what will be fetched, how large it is, and what is odd about it."""
    from ggufvlm.models.hub.transfer import size_text

    for note in download.notes:
        say(f"note: {note}")
    if not download.left:
        return
    names = ", ".join(item.name.rpartition("/")[2] for item in download.items)
    repos = " and ".join(dict.fromkeys(item.repo for item in download.items))
    here = download.total - download.left
    rest = f", {size_text(here)} of it are here already" if here else ""
    say(f"{download.selection.name}: downloading {size_text(download.total)} from {repos}{rest}: {names}")


def run(download: Download, *, quiet: bool = False) -> None:
    """Fetch with one progress display for all files.

    Raises:
        Interrupted: Ctrl-C; what has come is kept.
    """
    bar = Bar(download.total, enabled=not quiet)
    try:
        with bar:
            download.run(bar.on_progress)
    except KeyboardInterrupt:
        name = download.selection.name
        raise Interrupted(f"interrupted; what has come is kept: ggufvlm pull {name} goes on") from None


class Bar:
    """A progress bar with speed and time left, on a stderr that is a terminal."""

    def __init__(self, total: int, *, enabled: bool = True) -> None:
        self._total = total
        self._enabled = enabled and total > 0 and sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
        self._bars: Bars | None = None
        self._task: Any = None
        self._done = 0

    def on_progress(self, progress: DownloadProgress) -> None:
        """Show how far it is."""
        self.update(progress.done, progress.file.rpartition("/")[2])

    def add(self, n_bytes: int) -> None:
        """As :meth:`update`, for bytes of one and the same thing."""
        self.update(self._done + n_bytes, "")

    def update(self, done: int, what: str) -> None:
        """Show how far it is, and what is coming."""
        self._done = done
        if not self._enabled:
            return
        if self._bars is None:
            self._start()
        assert self._bars is not None
        self._bars.update(self._task, completed=done, description=what)

    def _start(self) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=make_console(OutputOptions(), stderr=True),
            transient=True,
        )
        # what is here already does not count for the speed
        self._task = self._bars.add_task("", total=self._total, completed=self._done)
        self._bars.start()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
