"""``ggufvlm compare IMAGE... "PROMPT" -m A -m B``: the same question to several models, side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli import console
from ggufvlm.cli.answering import log_to_stderr, read_question
from ggufvlm.cli.interruption import INTERRUPTED
from ggufvlm.cli.options import (
    HardwareOptions,
    OutputOptions,
    PromptOptions,
    SamplingOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.transfer import fetcher
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ggufvlm.cli.comparison import Result
    from ggufvlm.media import Image
    from ggufvlm.vlm import VLM


@grouped
def compare(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE... [PROMPT]", help="Images, then the question; as describe.", show_default=False),
    ],
    asked: PromptOptions,
    models: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="Two or more, one -m each.", metavar="MODEL", show_default=False),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="No chat template: for base models.", show_default=False)] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "-y",
            "--yes",
            help="Download missing models without asking.",
            envvar="GGUFVLM_ASSUME_YES",
            show_default=False,
        ),
    ] = False,
    *,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> None:
    """Ask several models the same question, one after the other.

    ggufvlm compare photo.jpg "What is on the table?" -m qwen2-vl-2b -m gemma-3-4b

    Answers stand side by side with their times and tokens. A model that fails is a column with its error; the exit code
    is 0 if at least one has answered, else that of the first error. Pictures are read once, models loaded in turn.
    """
    from ggufvlm.cli.comparison import Questioner, show
    from ggufvlm.media import load
    from ggufvlm.models import find_model
    from ggufvlm.vlm import VLM, question

    names = models or []
    if len(names) < 2:
        raise UsageError("compare takes two models or more", hint="-m qwen2-vl-2b -m gemma-3-4b")
    if output.debug:
        log_to_stderr()
    sources, text = read_question(arguments, asked, raw=raw)
    config, settings = hardware.config(), sampling.settings()
    images = [load(source) for source in sources]
    messages = question(images, text, text_or_file(asked.system) if asked.system else None)
    fetch = fetcher(yes=yes, quiet=output.quiet)

    def open_model(name: str, spinner: console.Spinner) -> VLM:
        files = find_model(name, fetch=fetch)
        return VLM(files, config, raw=raw, on_load=spinner.on_load, on_progress=spinner.on_progress)

    questioner = Questioner(open_model, lambda vlm: vlm.stream(messages, prefill=asked.prefill, **settings), output)
    results = questioner.run(names)
    if output.json:
        typer.echo(_json(text, images, results))
    else:
        show(results, output)
    if questioner.was_interrupted:
        if not output.quiet:
            console.say("interrupted")
        raise typer.Exit(INTERRUPTED)
    errors = [result.error for result in results if result.error]
    if len(errors) == len(results):
        raise typer.Exit(errors[0].exit_code)


def _json(prompt: str, images: Sequence[Image], results: Sequence[Result]) -> str:
    seen = [{"source": i.source, "id": i.id, "width": i.width, "height": i.height} for i in images]
    answers = [result.to_dict() for result in results]
    return json.dumps({"prompt": prompt, "images": seen, "answers": answers}, ensure_ascii=False)
