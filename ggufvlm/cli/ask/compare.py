"""``ggufvlm compare IMAGE... "PROMPT" -m A -m B``: the same question to several models, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ggufvlm.cli.ask.ask import log_to_stderr, print_json, read_question
from ggufvlm.cli.ask.comparison import ModelAnswer, Questioner, show
from ggufvlm.cli.open_model import OpeningModel, find_files, open_model
from ggufvlm.cli.options.constraint import ConstraintOptions, shaped_settings
from ggufvlm.cli.options.documents import DocumentOptions
from ggufvlm.cli.options.shared import (
    ASSUME_YES,
    HardwareOptions,
    ModelOptions,
    PromptOptions,
    SamplingOptions,
    TalkOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import Interrupted
from ggufvlm.cli.usage.complete import model_names
from ggufvlm.errors import UsageError
from ggufvlm.vlm.documents import Attachments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ggufvlm.media import Image
    from ggufvlm.vlm.answer import AnswerStream, SeenImage
    from ggufvlm.vlm.vlm import VLM


@grouped
def compare(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... [PROMPT]",
            help="Files, folders, patterns, http(s) URLs, data URIs, - for stdin, clipboard: ; then the question.",
            show_default=False,
        ),
    ],
    asked: PromptOptions,
    documents: DocumentOptions,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            rich_help_panel="Model",
            autocompletion=model_names,
            help="Two or more, one -m each.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", rich_help_panel="Model", help="No chat template: for base models.", show_default=False),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "-y",
            "--yes",
            rich_help_panel="Model",
            help="Download missing models without asking.",
            envvar=ASSUME_YES,
            show_default=False,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel="Output",
            help="One JSON object with all answers and their numbers.",
            show_default=False,
        ),
    ] = False,
    *,
    shape: ConstraintOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    talk: TalkOptions,
) -> None:
    """Ask several models the same question, one after the other.

    ggufvlm compare photo.jpg "What is on the table?" -m qwen2-vl-2b -m gemma-3-4b

    ggufvlm compare photo.jpg -m qwen2-vl-2b:Q4_K_M -m qwen2-vl-2b:Q8_0

    Answers stand side by side with their times and tokens. A model that fails is a column with its error; the exit code
    is 0 if at least one has answered, else that of the first error. Images are read once, models loaded in turn.
    Of a PDF, TIFF or video each model sees as many pages or frames as fit into its context.
    """
    names = models or []
    if len(names) < 2:
        raise UsageError("compare takes two models or more", hint="-m qwen2-vl-2b -m gemma-3-4b")
    output = replace(talk.output(), json=as_json)
    if output.debug:
        log_to_stderr()
    sources, text = read_question(arguments, asked, raw=raw, quiet=output.quiet)
    config, settings = hardware.config(), shaped_settings(sampling, shape, None, asked.prefill)
    attachments = Attachments.read(sources, documents.selection())
    system = text_or_file(asked.system) if asked.system else None

    def begin(name: str, spinner: console.Spinner) -> AbstractContextManager[OpeningModel]:
        files = find_files(ModelOptions(model=name, yes=yes), quiet=output.quiet)
        return open_model(files, config, spinner, raw=raw)

    def ask(vlm: VLM, spinner: console.Spinner) -> AnswerStream:
        messages, notes = attachments.fit(vlm, text, system, asked.prefill)
        for note in notes if not output.quiet else ():
            spinner.say(f"{vlm.files.name}: {note}")
        return vlm.stream(messages, prefill=asked.prefill, **settings)

    questioner = Questioner(begin, ask, output, settings.get("constraint"))
    results = questioner.run(names)
    if output.json:
        print_json(_envelope(text, attachments.first_images, results))
    else:
        show(results, output)
    if questioner.was_interrupted:
        raise Interrupted
    errors = [result.error for result in results if result.error]
    if len(errors) == len(results):
        raise typer.Exit(errors[0].exit_code)


def _envelope(prompt: str, first: Sequence[Image], results: Sequence[ModelAnswer]) -> dict[str, Any]:
    """``images`` are all that one model at least has seen."""
    images: dict[str, Image | SeenImage] = {i.id: i for r in results if r.answer for i in r.answer.images}
    images = images or {image.id: image for image in first}
    seen = [{"source": i.source, "id": i.id, "width": i.width, "height": i.height} for i in images.values()]
    answers = [result.to_dict() for result in results]
    return {"prompt": prompt, "images": seen, "answers": answers}
