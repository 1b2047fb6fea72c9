"""What describe, demo and compare have in common: load while reading images, stream, report, choose the exit code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.shared import (
    AnswerOptions,
    HardwareOptions,
    ModelOptions,
    OutputOptions,
    PromptOptions,
    text_or_file,
)
from ggufvlm.cli.options.stdin_text import STDIN, check_stdin_once, piped_question
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import leaving_at_once, stopping
from ggufvlm.cli.terminal.thoughts import ThoughtsView
from ggufvlm.errors import ExitCode, UsageError
from ggufvlm.media import expand
from ggufvlm.vlm.vlm import DEFAULT_PROMPT

if TYPE_CHECKING:
    from ggufvlm.config import SamplingSettings
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.errors import GGUFVLMError
    from ggufvlm.vlm.answer import Answer, AnswerStream
    from ggufvlm.vlm.documents import Attachments
    from ggufvlm.vlm.examples import Example


_MANY = 8
"""From so many images on a question about each of them is what people mean more often."""


def read_question(
    arguments: Sequence[str], asked: PromptOptions, *, raw: bool, quiet: bool, default: str | None = None
) -> tuple[list[str], str]:
    """Images and prompt of a command that takes ``IMAGE... [PROMPT]``.

    Args:
        arguments: as they were typed.
        asked: has the prompt if it is an option.
        raw: an empty prompt is one.
        quiet: not to tell that the prompt came from stdin.
        default: the prompt where none is given; without it stdin is one, if something is piped in.

    Raises:
        UsageError: no image, two prompts, stdin twice.
        ImageError: an image that does not exist.
        InputError: a prompt file that cannot be read.
    """
    sources, words = expand(arguments)
    if len(sources) >= _MANY and not quiet:
        console.say(_about_many(arguments, len(sources)))
    if not sources:
        raise UsageError("no image given", hint='images first: photo.jpg "What is this?"; - reads one from stdin')
    if words is not None and asked.prompt is not None:
        raise UsageError(f"two prompts: {words!r} and -p {asked.prompt!r}")
    prompt = words if words is not None else asked.prompt
    check_stdin_once(sources, prompt, asked.system)
    if prompt is None and default is None and "-" not in sources and asked.system != STDIN:
        prompt = piped_question(quiet=quiet)
        text = prompt or ""
    else:
        text = "" if prompt is None else text_or_file(prompt, quiet=quiet)
    if not text.strip() and default is not None:
        return sources, default
    return sources, text if text.strip() or raw else DEFAULT_PROMPT


def _about_many(arguments: Sequence[str], n_images: int) -> str:
    first = shlex.quote(arguments[0]) if Path(arguments[0]).is_dir() else "FOLDER"
    each = f'ggufvlm batch {first} -p "..." -o answers.jsonl'
    return f"note: one question about {n_images} images; {each} asks about each"


def answer_question(
    read: Callable[[], Attachments],
    prompt: str,
    *,
    system: str | None,
    prefill: str,
    model: ModelOptions,
    settings: SamplingSettings,
    hardware: HardwareOptions,
    output: AnswerOptions,
    examples: tuple[Example, ...] = (),
) -> None:
    """Ask one question about what ``read`` gives, and show the answer.

    Raises:
        typer.Exit: the repetition guard cut the answer.
        KeyboardInterrupt: after what was said is shown.
        EngineError: the answer does not fit its constraint; nothing is on stdout.
        GGUFVLMError: anything else that went wrong.
    """
    if output.debug:
        log_to_stderr()
    config, files = hardware.config(), find_files(model, quiet=output.quiet)
    with (
        console.Spinner(output) as spinner,
        open_model(files, config, spinner, raw=model.raw, waits_for_images=True, examples=examples) as opening,
    ):
        attachments = read()  # while the model loads
        vlm = opening.ready(attachments.first_images)
        with leaving_at_once(quiet=output.quiet):
            messages, notes = attachments.fit(vlm, prompt, system, prefill)
        for note in notes if not output.quiet else ():
            spinner.say(note)
        with vlm.stream(messages, prefill=prefill, **settings) as stream:
            _show(stream, spinner, output, settings.get("constraint"))
    _report_end(stream.answer, output)


def _show(stream: AnswerStream, spinner: console.Spinner, output: AnswerOptions, constraint: Constraint | None) -> None:
    """Stream the answer; Ctrl-C ends it, and what was said is kept and shown.

    An answer with a constraint is shown when it is complete and fits: half of it is of no use to a program.

    Raises:
        KeyboardInterrupt: after the numbers are shown.
        EngineError: the answer does not fit its constraint.
    """
    with stopping(stream.abort):
        thoughts = ThoughtsView(output, spinner, is_shown=output.show_thinking)
        pieces = console.after_spinner(thoughts.before(stream), spinner)
        if output.json or constraint:
            for _ in pieces:
                pass
        else:
            console.show_answer(pieces, output)
    spinner.close()
    answer = stream.answer
    if answer.finish_reason in ("abort", "repetition"):
        constraint = None  # half an answer fits nothing, and is shown as it is
    if constraint:
        answer = answer.fitted(constraint)
        if not output.json:
            console.print_plainly(answer.text)
    if output.json:
        print_json(envelope(answer, constraint))
    if output.stats:
        console.show_stats(answer, output)
    if answer.finish_reason == "abort":
        raise KeyboardInterrupt


def envelope(answer: Answer, constraint: Constraint | None) -> dict[str, Any]:
    """An answer as plain data for JSON, with its value if it was held to a shape and fits."""
    if constraint is None or answer.finish_reason != "stop":
        return answer.to_dict()
    return {**answer.to_dict(), "value": constraint.check(answer.text)}


def _report_end(answer: Answer, output: OutputOptions) -> None:
    warn_about_end(answer, output)
    if answer.finish_reason == "repetition":
        raise typer.Exit(ExitCode.CUT_BY_GUARD)


@dataclass(frozen=True, kw_only=True, slots=True)
class WaysOut:
    """What to do about an answer that is not whole, in the words of a command."""

    max_tokens: str = "-n raises the limit"
    context: str = "-c enlarges it"
    thoughts: str = "--think-budget N ends thoughts sooner"
    repetition: str = "--repeat-penalty 1.1 or --temp 0.7 may help"


def warn_about_end(
    answer: Answer,
    output: OutputOptions,
    say: Callable[[str], None] = console.say,
    ways_out: WaysOut = WaysOut(),
) -> None:
    """Say on stderr if the answer is not whole, and what may help.

    Args:
        answer: that was shown.
        output: whether anything is to be said.
        say: takes the line.
        ways_out: what may help.
    """
    if output.quiet:
        return
    if answer.finish_reason == "length" and answer.reasoning and not answer.text:
        full = "context full; " if answer.stop_reason == "context" else ""
        n_thoughts = answer.usage.n_thoughts
        say(f"warning: no answer: still thinking after {n_thoughts} tokens; {full}{ways_out.thoughts}")
    elif answer.finish_reason == "length":
        say(f"warning: the answer was cut {cut_after(answer.usage.n_generated, answer.stop_reason, ways_out)}")
    if answer.finish_reason == "repetition":
        say(f"warning: the answer fell into a repetition loop and was cut; {ways_out.repetition}")


def cut_after(n_tokens: int, stop_reason: str | None, ways_out: WaysOut = WaysOut()) -> str:
    """Where an answer was cut, by what, and what may help.

    Args:
        n_tokens: of the answer.
        stop_reason: of the answer.
        ways_out: what may help.
    """
    if stop_reason == "context":
        return f"after {n_tokens} tokens: context full; {ways_out.context}"
    return f"after {n_tokens} tokens; {ways_out.max_tokens}"


def print_json(data: Any) -> None:
    """An envelope on stdout: on one line for programs, on many for people."""
    indent = 2 if sys.stdout.isatty() else None
    console.print_plainly(json.dumps(data, ensure_ascii=False, indent=indent))


class Complaints:
    """What went wrong with single ones of several images or pages: a line for each on stderr, a hint once.

    Attributes:
        errors: all of them.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._hints: set[str] = set()
        self.errors: list[GGUFVLMError] = []

    def add(self, error: GGUFVLMError, name: str = "") -> None:
        """Tell the user.

        Args:
            name: of the image, for errors that do not name it themselves.
        """
        self.errors.append(error)
        text = str(error)
        self._say(f"error: {text}" if name in text else f"error: {name}: {text}")
        if error.hint and error.hint not in self._hints:
            self._hints.add(error.hint)
            self._say(f"hint: {error.hint}")

    def leave(self, n_done: int) -> None:
        """End the command if there was an error.

        Args:
            n_done: images or pages that were dealt with.

        Raises:
            typer.Exit: with 5 if some were, else with the code of the first error.
        """
        if self.errors:
            raise typer.Exit(ExitCode.SOME_FAILED if n_done else self.errors[0].exit_code)


def log_to_stderr() -> None:
    """For ``--debug``: llama.cpp's messages and our own."""
    import logging

    logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("PIL", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
