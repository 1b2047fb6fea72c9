"""``ggufvlm alt DIR|FILE...``: alternative texts for the images of web pages and Markdown files, as a diff."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.ask.ask import log_to_stderr
from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.shared import (
    HardwareOptions,
    ModelOptions,
    OutputOptions,
    PromptOptions,
    SamplingOptions,
    TalkOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import Interrupted
from ggufvlm.errors import ExitCode, OutputError
from ggufvlm.tasks.alt.gap import shorten
from ggufvlm.tasks.alt.survey import survey
from ggufvlm.tasks.alt.text_file import find_text_files
from ggufvlm.tasks.presets import find_preset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ggufvlm.tasks.alt.survey import Survey
    from ggufvlm.vlm.map import Question
    from ggufvlm.vlm.vlm import VLM

_SLOTS = 4


@grouped
def alt(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|FILE...", help="Folders, .html and .md files.", show_default=False),
    ],
    apply: Annotated[bool, typer.Option("--apply", help="Write the files in place of the diff.")] = False,
    max_length: Annotated[
        int, typer.Option("--max-length", help="Longest text, in characters. [125]", min=10, show_default=False)
    ] = 125,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="Where addresses with a leading slash begin. [DIR, or static/ or public/ there]",
            metavar="DIR",
            file_okay=False,
            exists=True,
            show_default=False,
        ),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="Download images of http(s) addresses, too.")] = False,
    *,
    asked: PromptOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    talk: TalkOptions,
) -> None:
    """Write alternative texts for images that have none; shows what would change as a diff.

    ggufvlm alt site/ > alt.diff

    ggufvlm alt README.md docs/ --apply

    Decoration is left alone: an empty alt, role="presentation", aria-hidden, one pixel. Exit code 5 if an image could
    not be read.
    """
    output = talk.output()
    if output.debug:
        log_to_stderr()
    found = survey(find_text_files(files), remote=remote, site=root)
    try:
        answers = _ask(found, _prompt(asked, max_length), asked, model, sampling, hardware, output)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written") from None
    n_filled = _show(found, {image: text for image, text in answers.items() if text}, max_length, apply=apply)
    _report(found, n_filled, output, apply=apply)
    if found.problems:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _prompt(asked: PromptOptions, max_length: int) -> str:
    if asked.prompt is not None and (given := text_or_file(asked.prompt)).strip():
        return given
    return find_preset("alt").prompt.replace("125 characters", f"{max_length} characters")


def _ask(
    found: Survey,
    prompt: str,
    asked: PromptOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> dict[Path | str, str]:
    """The text of each image; what cannot be read becomes a problem. Loads a model only if there is an image."""
    from ggufvlm.vlm.map import Question

    images = found.images
    if not images:
        return {}
    settings = sampling.settings()
    settings.setdefault("max_tokens", 120)
    system = text_or_file(asked.system) if asked.system else None
    questions = [
        Question(prompt=prompt, images=[image], system=system, prefill=asked.prefill, settings=settings, tag=image)
        for image in images
    ]
    config = replace(hardware.config(), n_slots=min(_SLOTS, len(images)), priority="throughput")
    files = find_files(model, quiet=output.quiet)
    with console.Spinner(output) as spinner, open_model(files, config, spinner, raw=model.raw) as opening:
        return dict(_answers(opening.ready(), questions, found, spinner))


def _answers(
    vlm: VLM, questions: list[Question], found: Survey, spinner: console.Spinner
) -> Iterator[tuple[Path | str, str]]:
    places = found.images
    for number, result in enumerate(vlm.map(questions), 1):
        spinner.update(f"describing images: {number} of {len(questions)}")
        image = result.question.tag
        if result.answer is None:
            found.problems.append(f"{places[image]}: {result.error}")
        elif result.answer.finish_reason == "repetition" or not result.answer.text.strip():
            found.problems.append(f"{places[image]}: the model found no words for {image}")
        else:
            yield image, result.answer.text


def _print_diff(diff: bytes) -> None:
    """To a pipe as it is, for ``patch``; a page may be in any encoding, and may hold what a terminal obeys."""
    if sys.stdout.isatty():
        sys.stdout.write(diff.decode("utf-8", "replace"))
    else:
        sys.stdout.buffer.write(diff)
    sys.stdout.flush()


def _show(found: Survey, answers: dict[Path | str, str], max_length: int, *, apply: bool) -> int:
    """Print the diff, or write the files; returns how many gaps were filled."""
    n_filled = 0
    for file, gaps in found.files:
        words = [(gap, shorten(answers[image], max_length)) for gap, image in gaps if image in answers]
        if not words:
            continue
        new = file.filled(words)
        if apply:
            try:
                file.write(new)
            except OutputError as error:
                found.problems.append(str(error))
                continue
            console.say(f"{file.path}: {len(words)} written")
        else:
            _print_diff(file.diff(new))
        n_filled += len(words)
    return n_filled


def _report(found: Survey, n_filled: int, output: OutputOptions, *, apply: bool) -> None:
    for problem in found.problems:
        console.say(f"warning: {problem}")
    if output.quiet:
        return
    folders = {file.diff_folder() for file, _ in found.files} - {Path()}
    if n_filled and not apply and folders:
        console.say(f"to be applied elsewhere: {', '.join(f'patch -p1 -d {folder}' for folder in sorted(folders))}")
    if found.n_remote:
        console.say(f"{found.n_remote} on other computers left out; --remote downloads them")
    if not n_filled and not found.problems and not found.n_remote:
        console.say("no image without alternative text")
