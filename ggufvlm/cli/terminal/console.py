"""The terminal: where answers, progress and statistics are drawn. Answers on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from ggufvlm.cli.options.shared import OutputOptions, Switch
from ggufvlm.cli.terminal.streams import drawing

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ggufvlm.engine.engine import PromptProgress
    from ggufvlm.media import Image
    from ggufvlm.vlm.answer import Answer


_ON_ANY_BACKGROUND = {"markdown.code": "bold cyan", "markdown.code_block": "cyan"}
"""Rich puts code on black, which makes black boxes on a light terminal."""


def can_draw(output: OutputOptions, *, stderr: bool = False) -> bool:
    """Whether the stream is a terminal that understands cursor movement, or the user says so."""
    if output.color is not Switch.AUTO:
        return output.color is Switch.ON
    return (sys.stderr if stderr else sys.stdout).isatty() and os.environ.get("TERM", "") != "dumb"


def make_console(output: OutputOptions, *, stderr: bool = False) -> Console:
    """A Rich console for a stream; ``NO_COLOR`` is honoured by Rich."""
    from rich.theme import Theme

    from ggufvlm.cli.terminal.filtered_console import FilteredConsole

    forced = True if output.color is Switch.ON else None
    stream = drawing(sys.stderr if stderr else sys.stdout)
    no_color = output.color is Switch.OFF or None
    theme = Theme(_ON_ANY_BACKGROUND)
    return FilteredConsole(file=stream, force_terminal=forced, no_color=no_color, highlight=False, theme=theme)


def say(text: str) -> None:
    """A line for the user on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def print_plainly(text: str) -> None:
    """A text and a line end on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as aligned text; ``right`` are the columns whose text ends flush."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


@contextmanager
def silent_keyboard() -> Iterator[None]:
    """Within this block a terminal does not show what is typed: it would stand in the middle of the answer.

    It is not lost: the next line begins with it.
    """
    if sys.platform == "win32" or not sys.stdin.isatty() or not sys.stdout.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Spinner:
    """One transient line on stderr that says what is going on, shown only if it takes a while.

    Updates may come from any thread.
    """

    DELAY = 0.3  # seconds: a line that flashes by disturbs more than it tells

    def __init__(self, output: OutputOptions) -> None:
        self.output = output
        self._enabled = can_draw(output, stderr=True) and sys.stderr.isatty() and not output.quiet and not output.debug
        self._show_after = time.monotonic() + self.DELAY
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._closed = False

    def update(self, text: str) -> None:
        """Say something new."""
        if not self._enabled or time.monotonic() < self._show_after:
            return
        from rich.live import Live
        from rich.spinner import Spinner as Wheel

        with self._lock:
            if self._closed:
                return
            if self._live is None:
                self._wheel = Wheel("dots", text)
                console = make_console(self.output, stderr=True)
                self._live = Live(
                    self._wheel, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
                )
                self._live.start()
            self._wheel.update(text=text)

    def on_load(self, share: float) -> None:
        self.update(f"loading the model: {share:.0%}")

    def on_prepare(self, share: float) -> None:
        self.update(f"preparing the projector for this CPU (once): {share:.0%}")

    def on_progress(self, progress: PromptProgress) -> None:
        if progress.stage == "prepare":
            self.on_prepare(progress.done / 100)
        elif progress.stage == "encode":
            self.update(_layers(progress.done, progress.total))
        else:
            self.update(f"reading the prompt: {progress.done} of {progress.total} tokens")

    def say(self, text: str) -> None:
        """A line for the user on stderr, which stays."""
        with self._lock:
            if self._live is None:
                say(text)
            else:
                self._live.console.print(text, markup=False, soft_wrap=True)

    def hide(self) -> None:
        """Take the line away, so that something can be shown; the next update brings it back."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def close(self) -> None:
        """Take the line away for good. Safe to call twice."""
        self._closed = True
        self.hide()

    def __enter__(self) -> Spinner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _layers(done: int, total: int | None) -> str:
    """How far an image is. Before the first layer is done, and of an encoder that does not say, less is known."""
    if not done:
        return "looking at the image"
    of = f" of {total}" if total is not None and done <= total else ""
    return f"looking at the image: layer {done}{of}"


def after_spinner(pieces: Iterable[str], spinner: Spinner) -> Iterator[str]:
    """The pieces; the spinner goes away before the first one is shown."""
    for piece in pieces:
        spinner.close()
        yield piece


def show_answer(pieces: Iterable[str], output: OutputOptions) -> None:
    """Stream an answer to stdout: rendered Markdown on a terminal, plain text flushed piece by piece elsewhere."""
    if can_draw(output):
        from ggufvlm.cli.terminal.markdown import MarkdownStream

        with MarkdownStream(make_console(output), live=not output.no_stream) as stream:
            for piece in pieces:
                stream.write(piece)
        return
    if output.no_stream:
        pieces = ["".join(pieces)]
    last = "\n"
    try:
        for piece in pieces:
            last = piece  # before it is written: Ctrl-C may come in between
            sys.stdout.write(piece)
            sys.stdout.flush()
    finally:
        if not last.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()


def show_stats(answer: Answer, output: OutputOptions) -> None:
    """What the model saw, and what it cost, on stderr."""
    usage, times = answer.usage, answer.times
    lines = [
        (
            "image",
            f"{i.source}  {i.width}x{i.height} -> {i.seen_width}x{i.seen_height}, {i.n_tokens} tokens"
            + (", on dark grey: it is white" if i.is_on_dark else ""),
        )
        for i in answer.images
    ]
    repair = f", repaired ({answer.repair})" if answer.repair else ""
    lines.append(("model", f"{answer.model}, loaded in {times.load:.2f} s, context {usage.n_ctx} tokens{repair}"))
    if answer.projector:
        lines.append(("vision", answer.projector))
    new = usage.n_prompt - usage.n_cached
    encoded = f"; {usage.n_images_encoded} encoded in {times.encode:.2f} s" if usage.n_images_encoded else ""
    recalled = f"; {usage.n_images_recalled} known" if usage.n_images_recalled else ""
    restored = f" ({usage.n_restored} from disk)" if usage.n_restored else ""
    speed = f"; {new} read in {times.prefill:.2f} s, {new / times.prefill:.0f} tokens/s" if times.prefill else ""
    lines.append(("prompt", f"{usage.n_prompt} tokens, {usage.n_cached} cached{restored}{encoded}{recalled}{speed}"))
    rate = f", {usage.n_generated / times.decode:.1f} tokens/s" if times.decode else ""
    first = f", first after {times.first_token:.2f} s" if times.first_token is not None else ""
    lines.append(("answer", f"{usage.n_generated} tokens{rate}{first}, ended by {answer.finish_reason}"))
    console = make_console(output, stderr=True)
    for name, text in lines:
        console.print(f"{name:<7} {text}", style="dim", markup=False, soft_wrap=True)


def draw_image(image: Image, output: OutputOptions, *, max_columns: int = 48, max_rows: int = 16) -> None:
    """An image in half blocks on stderr, two pixels a character cell."""
    from ggufvlm.media import resize

    console = make_console(output, stderr=True)
    columns = min(max_columns, console.width, image.width)
    scale = min(columns / image.width, 2 * max_rows / image.height)
    width, height = max(1, round(image.width * scale)), max(2, round(image.height * scale / 2) * 2)
    console.print(_half_blocks(resize(image, width, height)))


def _half_blocks(image: Image) -> RenderableType:
    from rich.text import Text

    def color(x: int, y: int) -> str:
        at = 3 * (y * image.width + x)
        return "#" + image.rgb[at : at + 3].hex()

    text = Text()
    for y in range(0, image.height, 2):
        for x in range(image.width):
            text.append("▀", style=f"{color(x, y)} on {color(x, y + 1)}")
        if y + 2 < image.height:
            text.append("\n")
    return text
