"""``ggufvlm describe IMAGE... ["PROMPT"]``: one answer about one or several images."""

from __future__ import annotations

from typing import Annotated

import typer

from ggufvlm.cli.answering import answer_question
from ggufvlm.cli.options import (
    HardwareOptions,
    ModelOptions,
    OutputOptions,
    PromptOptions,
    SamplingOptions,
    grouped,
    text_or_file,
)
from ggufvlm.errors import UsageError


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
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> None:
    """Ask about one or several pictures.

    ggufvlm describe photo.jpg "What is on the table?"
    """
    from ggufvlm.media import expand, load
    from ggufvlm.vlm import DEFAULT_PROMPT

    sources, words = expand(arguments)
    if not sources:
        raise UsageError("no picture given", hint='ggufvlm describe photo.jpg "What is this?"; - reads one from stdin')
    if sources.count("-") > 1:
        raise UsageError("- can be given once: there is one stdin")
    if words is not None and asked.prompt is not None:
        raise UsageError(f"two prompts: {words!r} and -p {asked.prompt!r}")
    prompt = words if words is not None else asked.prompt
    text = "" if prompt is None else text_or_file(prompt)
    if not text.strip() and not model.raw:
        text = DEFAULT_PROMPT
    answer_question(
        lambda: [load(source) for source in sources],
        text,
        system=text_or_file(asked.system) if asked.system else None,
        prefill=asked.prefill,
        model=model,
        sampling=sampling,
        hardware=hardware,
        output=output,
    )
