"""``ggufvlm describe IMAGE... ["PROMPT"]``: one answer about one or several images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.ask.ask import answer_question, read_question
from ggufvlm.cli.ask.video_windows import WindowOptions, describe_windows
from ggufvlm.cli.options.constraint import ConstraintOptions, shaped_settings
from ggufvlm.cli.options.documents import DocumentOptions
from ggufvlm.cli.options.examples import ExampleOptions
from ggufvlm.cli.options.shared import (
    AnswerOptions,
    HardwareOptions,
    ModelOptions,
    PromptOptions,
    SamplingOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.usage.complete import preset_names
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.tasks.presets import Preset


@grouped
def describe(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... [PROMPT]",
            help="Files, folders, patterns, http(s) URLs, data URIs, - for stdin, clipboard: ; then the question.",
            show_default=False,
        ),
    ],
    asked: PromptOptions,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            rich_help_panel="Question",
            autocompletion=preset_names,
            help="caption, detailed, alt, tags, ocr, or your own.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    logprobs: Annotated[
        int | None,
        typer.Option(
            "--logprobs",
            rich_help_panel="Output",
            help="With --json: how probable each token was, and this many others.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    *,
    shape: ConstraintOptions,
    worked: ExampleOptions,
    documents: DocumentOptions,
    windows: WindowOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: AnswerOptions,
) -> None:
    """Ask about one or several images; pages of a PDF or TIFF and frames of a video are images, too.

    ggufvlm describe photo.jpg "What is on the table?"

    ggufvlm describe report.pdf --pages 1-5 "What is the total?"

    ggufvlm describe long.mp4 --window 60s "What happens?"
    """
    from ggufvlm.vlm.documents import Attachments

    found = _preset(preset)
    default = found.prompt if found else None
    sources, text = read_question(arguments, asked, raw=model.raw, quiet=output.quiet, default=default)
    selection, length = documents.selection(), windows.length()
    settings = shaped_settings(sampling, shape, found, asked.prefill)
    if logprobs is not None:
        if not output.json:
            raise UsageError("--logprobs is shown in JSON", hint="--json")
        settings["logprobs"] = logprobs
    system = text_or_file(asked.system) if asked.system else found.system if found else None
    examples = worked.read()
    if length is not None:
        if documents.pages is not None:
            raise UsageError("--pages is for PDFs and TIFFs, --window for videos")
        describe_windows(
            sources,
            text,
            length=length,
            sums_up=not windows.no_summary,
            selection=selection,
            system=system,
            prefill=asked.prefill,
            model=model,
            settings=settings,
            hardware=hardware,
            output=output,
            examples=examples,
        )
        return
    answer_question(
        lambda: Attachments.read(sources, selection),
        text,
        system=system,
        prefill=asked.prefill,
        model=model,
        settings=settings,
        hardware=hardware,
        output=output,
        examples=examples,
    )


def _preset(name: str | None) -> Preset | None:
    from ggufvlm.batch.inputs.templates import parse
    from ggufvlm.tasks.presets import find_preset

    if name is None:
        return None
    preset = find_preset(name)
    fields = parse(preset.prompt).fields
    if fields:
        raise UsageError(f"the preset {name!r} has a field in its prompt: {{{fields[0]}}}", hint="fields are for batch")
    return preset
