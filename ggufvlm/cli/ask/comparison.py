"""One question to several models in turn, and their answers side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggufvlm.cli.ask.ask import envelope
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import stopping
from ggufvlm.errors import GGUFVLMError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from ggufvlm.cli.open_model import OpeningModel
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.vlm.answer import Answer, AnswerStream
    from ggufvlm.vlm.vlm import VLM

_NARROWEST = 24
"""Columns of a terminal below which answers stand one below the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAnswer:
    """What one model had to say, or why it did not.

    Attributes:
        seconds: from the question to the end of the answer; loading is not in it.
        constraint: what the answer was held to.
    """

    model: str
    answer: Answer | None = None
    seconds: float = 0.0
    error: GGUFVLMError | None = None
    constraint: Constraint | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        if self.answer is not None:
            told = envelope(self.answer, self.constraint)
            return {**told, "model": self.model, "seconds": round(self.seconds, 3)}
        hint = self.error.hint if self.error else None
        return {"model": self.model, "error": str(self.error), "hint": hint}

    @property
    def numbers(self) -> str:
        """Times and tokens, on one line."""
        if self.answer is None:
            return ""
        usage, times = self.answer.usage, self.answer.times
        known = ", its images from the cache" if self.answer.images and not usage.n_images_encoded else ""
        rate = f", {usage.n_generated / times.decode:.0f} per second" if times.decode else ""
        ended = "" if self.answer.finish_reason == "stop" else f"; ended by {self.answer.finish_reason}"
        return (
            f"{self.seconds:.2f} s, loaded in {times.load:.2f} s; {usage.n_prompt} tokens read{known}, "
            f"{usage.n_generated} written{rate}{ended}"
        )


class Questioner:
    """Asks models in turn; each is freed before the next is loaded. Ctrl-C ends it and keeps what there is.

    Args:
        begin: name and progress line -> a model that is being loaded.
        ask: begins its answer; may say something about it first.
        constraint: what the answers have to look like; one that does not is an error.
    """

    def __init__(
        self,
        begin: Callable[[str, console.Spinner], AbstractContextManager[OpeningModel]],
        ask: Callable[[VLM, console.Spinner], AnswerStream],
        output: OutputOptions,
        constraint: Constraint | None = None,
    ) -> None:
        self._constraint = constraint
        self._begin, self._ask, self._output = begin, ask, output
        self._stop: Callable[[], None] = lambda: None
        self.was_interrupted = False

    def run(self, names: Sequence[str]) -> list[ModelAnswer]:
        """The results, in order; fewer than names after Ctrl-C."""
        results: list[ModelAnswer] = []
        for name in names:
            with stopping(self._interrupt), console.Spinner(self._output) as spinner:
                try:
                    result = self._one(name, spinner)
                except GGUFVLMError as error:
                    result = ModelAnswer(model=name, error=error)
            if not self.was_interrupted or (result.answer and result.answer.text):
                results.append(result)
            if self.was_interrupted:
                break
        return results

    def _one(self, name: str, spinner: console.Spinner) -> ModelAnswer:
        with self._begin(name, spinner) as opening:
            self._stoppable(opening.vlm.stop_loading)
            vlm = opening.ready()
            began = time.perf_counter()
            stream = self._ask(vlm, spinner)
            self._stoppable(stream.abort)
            answer = stream.answer
            if self._constraint is not None and not self.was_interrupted:
                answer = answer.fitted(self._constraint)
            seconds = time.perf_counter() - began
            return ModelAnswer(model=name, answer=answer, seconds=seconds, constraint=self._constraint)

    def _stoppable(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self.was_interrupted:
            stop()

    def _interrupt(self) -> None:
        self.was_interrupted = True
        self._stop()


def show(results: Sequence[ModelAnswer], output: OutputOptions) -> None:
    """On stdout: columns on a terminal that is wide enough, else one below the other."""
    if not console.can_draw(output):
        console.print_plainly("\n\n".join(_plain(result) for result in results))
        return
    from rich.console import Group
    from rich.table import Table

    screen = console.make_console(output)
    if screen.width // max(1, len(results)) < _NARROWEST:
        for result in results:
            screen.print(Group(f"[bold]{_escaped(result.model)}[/]", _content(result), _numbers(result), ""))
        return
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="bold")
    for result in results:
        table.add_column(_escaped(result.model), ratio=1, overflow="fold")
    table.add_row(*(_content(result) for result in results), end_section=True)
    table.add_row(*("" for _ in results))
    table.add_row(*(_numbers(result) for result in results))
    screen.print(table)


def _plain(result: ModelAnswer) -> str:
    if result.answer is None:
        hint = f"\nhint: {result.error.hint}" if result.error and result.error.hint else ""
        return f"== {result.model}\nerror: {result.error}{hint}"
    return f"== {result.model}\n{result.answer.text}\n({result.numbers})"


def _content(result: ModelAnswer) -> RenderableType:
    from rich.text import Text

    from ggufvlm.cli.terminal.markdown import parse

    if result.answer is not None:
        return parse(result.answer.text)
    hint = f"\n{result.error.hint}" if result.error and result.error.hint else ""
    return Text(f"error: {result.error}{hint}", style="red")


def _numbers(result: ModelAnswer) -> RenderableType:
    from rich.text import Text

    return Text(result.numbers, style="dim")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
