"""``ggufvlm describe IMAGE... ["PROMPT"]``: one answer about one or several images."""

from __future__ import annotations

from typing import Annotated

import typer

from ggufvlm.cli.answering import answer_question, read_question
from ggufvlm.cli.document_options import DocumentOptions
from ggufvlm.cli.options import (
    HardwareOptions,
    ModelOptions,
    OutputOptions,
    PromptOptions,
    SamplingOptions,
    grouped,
    text_or_file,
)


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
    documents: DocumentOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> None:
    """Ask about one or several pictures; pages of a PDF and frames of a video are pictures, too.

    ggufvlm describe photo.jpg "What is on the table?"

    ggufvlm describe report.pdf --pages 1-5 "What is the total?"
    """
    from ggufvlm.documents import Material

    sources, text = read_question(arguments, asked, raw=model.raw)
    selection = documents.selection()
    answer_question(
        lambda: Material.read(sources, selection),
        text,
        system=text_or_file(asked.system) if asked.system else None,
        prefill=asked.prefill,
        model=model,
        sampling=sampling,
        hardware=hardware,
        output=output,
    )
