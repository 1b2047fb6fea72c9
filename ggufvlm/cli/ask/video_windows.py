"""``ggufvlm describe clip.mp4 --window 60s``: a long video, asked about window by window."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ggufvlm.cli.ask.ask import envelope, log_to_stderr, print_json, warn_about_end
from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.documents import seconds
from ggufvlm.cli.options.shared import option
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import stopping
from ggufvlm.errors import ExitCode, ImageError, UsageError

if TYPE_CHECKING:
    from ggufvlm.cli.options.shared import HardwareOptions, ModelOptions, OutputOptions
    from ggufvlm.config import SamplingSettings
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.media.decoding.kinds import MediaFile
    from ggufvlm.media.documents.document import Selection
    from ggufvlm.tasks.long_video import WindowAnswer
    from ggufvlm.vlm.answer import Answer
    from ggufvlm.vlm.examples import Example
    from ggufvlm.vlm.vlm import VLM


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """How a long video is divided."""

    panel: ClassVar[str] = "Documents and video"

    window: Annotated[
        str | None,
        option("--window", help="Ask about stretches of a video this long, such as 60s, then sum up.", metavar="TIME"),
    ] = None
    no_summary: Annotated[
        bool, option("--no-summary", help="With --window: the answers for all stretches are the answer.")
    ] = False

    def length(self) -> float | None:
        """Of a window, in seconds.

        Raises:
            UsageError: no time, or no window to leave the summary out for.
        """
        if self.window is None and self.no_summary:
            raise UsageError("--no-summary is for --window")
        return None if self.window is None else seconds(self.window)


def describe_windows(
    sources: Sequence[str],
    prompt: str,
    *,
    length: float,
    sums_up: bool,
    selection: Selection,
    system: str | None,
    prefill: str,
    model: ModelOptions,
    settings: SamplingSettings,
    hardware: HardwareOptions,
    output: OutputOptions,
    examples: tuple[Example, ...] = (),
) -> None:
    """Ask about each window of a video, and show the answer to all of them.

    Args:
        sources: one video.
        length: of a window, in seconds.
        examples: come before each question.
        sums_up: whether one answer is made of all; else the windows' answers are the answer, behind their times.

    Raises:
        typer.Exit: the repetition guard cut what is shown.
        KeyboardInterrupt: after what was said is shown.
        GGUFVLMError: anything that went wrong.
    """
    if output.debug:
        log_to_stderr()
    config = hardware.config()
    file = _only_video(sources)
    found: list[WindowAnswer] = []
    summary: Answer | None = None
    try:
        files = find_files(model, quiet=output.quiet)
        with (
            console.Spinner(output) as spinner,
            open_model(files, config, spinner, raw=model.raw, examples=examples) as opening,
        ):
            asked = _Asking(opening.ready(), prompt, system, prefill, settings, spinner, output)
            asked.windows(file, length, selection, found, sums_up=sums_up)
            if sums_up:
                summary = asked.summary(found)
    finally:
        if output.json and found:
            _write_json(found, summary, settings.get("constraint"))
    if summary is not None and summary.finish_reason == "abort":
        raise KeyboardInterrupt
    _report_end(found, summary, output)


def _only_video(sources: Sequence[str]) -> MediaFile:
    from ggufvlm.media.decoding.kinds import FileKind, identify
    from ggufvlm.media.documents.video import Clip

    if len(sources) != 1:
        raise UsageError("--window takes one video")
    file = identify(sources[0])
    if file.kind is not FileKind.VIDEO:
        raise ImageError(f"{file.name}: not a video", hint="--window is for videos")
    Clip(file).close()  # what is wrong with it is told before a model is loaded
    return file


class _Asking:
    """The questions about one video, and how their answers are shown."""

    def __init__(
        self,
        vlm: VLM,
        prompt: str,
        system: str | None,
        prefill: str,
        settings: SamplingSettings,
        spinner: console.Spinner,
        output: OutputOptions,
    ) -> None:
        self._vlm = vlm
        self._prompt = prompt
        self._system = system
        self._prefill = prefill
        self._settings = settings
        self._spinner = spinner
        self._output = output

    def windows(
        self, file: MediaFile, length: float, selection: Selection, found: list[WindowAnswer], *, sums_up: bool
    ) -> None:
        """All windows' answers, into ``found`` as they come."""
        from ggufvlm.tasks.long_video import watch

        settings = self._settings.copy()
        if sums_up:  # what is forced on the answer, and shown of it, is not meant for notes
            settings.pop("constraint", None)
            settings.pop("logprobs", None)
        prefill = "" if sums_up else self._prefill
        self._spinner.update("looking for windows")
        for item in watch(
            self._vlm,
            file,
            self._prompt,
            length=length,
            selection=selection,
            system=self._system,
            prefill=prefill,
            **settings,
        ):
            if not sums_up:
                item = replace(item, answer=self._fitting(item.answer))
            found.append(item)
            self._show(item, sums_up=sums_up)
            self._spinner.update(f"{item.window.label} is done")

    def _show(self, item: WindowAnswer, *, sums_up: bool) -> None:
        line = f"[{item.window.label}] {item.answer.text.strip()}"
        if not sums_up and not self._output.json:
            self._spinner.close()
            console.print_plainly(line)
            if self._output.stats:
                console.show_stats(item.answer, self._output)
        elif sys.stderr.isatty() and not self._output.quiet:
            self._spinner.say(line)

    def summary(self, found: Sequence[WindowAnswer]) -> Answer:
        """The answer for the whole video, shown as it is made."""
        from ggufvlm.tasks.long_video import sum_up

        self._spinner.update("summing up")
        with (
            sum_up(
                self._vlm, found, self._prompt, system=self._system, prefill=self._prefill, **self._settings
            ) as stream,
            stopping(stream.abort),
        ):
            if not self._output.json and not self._settings.get("constraint"):
                console.show_answer(console.after_spinner(stream, self._spinner), self._output)
            answer = stream.answer
        self._spinner.close()
        answer = answer if answer.finish_reason == "abort" else self._fitting(answer)
        if not self._output.json and self._settings.get("constraint"):
            console.print_plainly(answer.text)
        if self._output.stats:
            console.show_stats(answer, self._output)
        return answer

    def _fitting(self, answer: Answer) -> Answer:
        """The answer as its constraint has it.

        Raises:
            EngineError: it does not fit.
        """
        constraint = self._settings.get("constraint")
        return answer if constraint is None else answer.fitted(constraint)


def _write_json(found: Sequence[WindowAnswer], summary: Answer | None, constraint: Constraint | None) -> None:
    windows = [item.to_dict() for item in found]
    if summary is None:
        text = "\n".join(f"[{item.window.label}] {item.answer.text.strip()}" for item in found)
        told: dict[str, Any] = {"text": text, "model": found[0].answer.model}
    else:
        told = envelope(summary, constraint)
    print_json({**told, "windows": windows})


def _report_end(found: Sequence[WindowAnswer], summary: Answer | None, output: OutputOptions) -> None:
    shown = [summary] if summary is not None else [item.answer for item in found]
    for answer in shown:
        warn_about_end(answer, output)
    if summary is not None and not output.quiet:
        cut = [item.window.label for item in found if item.answer.finish_reason == "repetition"]
        if cut:
            console.say(f"warning: the notes on {', '.join(cut)} fell into repetition loops and were cut")
    if any(answer.finish_reason == "repetition" for answer in shown):
        raise typer.Exit(ExitCode.CUT_BY_GUARD)
