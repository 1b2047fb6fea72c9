"""``ggufvlm classify IMAGE... --labels a,b,c``: classes of images, with the model's own probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.ask.ask import log_to_stderr
from ggufvlm.cli.ask.classify_output import ClassWriter
from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.constraint import read_list
from ggufvlm.cli.options.examples import ExampleOptions
from ggufvlm.cli.options.shared import HardwareOptions, ModelOptions, OutputOptions, Switch, grouped, text_or_file
from ggufvlm.cli.terminal import console
from ggufvlm.errors import GGUFVLMError, ImageError, UsageError
from ggufvlm.media import expand, load_single, name_of, rejoined
from ggufvlm.tasks.classify import Classification, ClassifyParams
from ggufvlm.tasks.classify import classify as classify_image

if TYPE_CHECKING:
    from ggufvlm.vlm.vlm import VLM

_MOST_LANES = 16


@grouped
def classify(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Files, folders, patterns, URLs, - for stdin.", show_default=False),
    ],
    labels: Annotated[
        str,
        typer.Option(
            "-l",
            "--labels",
            rich_help_panel="Question",
            help="The classes: a,b,c, or @FILE with one a line.",
            metavar="A,B,..|@FILE",
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--prompt",
            rich_help_panel="Question",
            help="The question; {labels} or {label} in it is replaced.",
            metavar="TEXT|@FILE",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "-s", "--system", rich_help_panel="Question", help="System message, or @FILE.", metavar="TEXT|@FILE"
        ),
    ] = None,
    multi: Annotated[
        bool,
        typer.Option(
            "--multi", rich_help_panel="Question", help="Several may hold: yes or no is asked for each label."
        ),
    ] = False,
    per_token: Annotated[
        bool,
        typer.Option(
            "--per-token", rich_help_panel="Question", help="Divide log-probabilities by the label's length, in tokens."
        ),
    ] = False,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            rich_help_panel="Question",
            help="Score labels only as written, not capitalised or with a full stop.",
        ),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            rich_help_panel="Question",
            help="Divide by the probabilities for a grey image of the same size.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel="Output", help="One JSON object an image, one on each line.")
    ] = False,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", rich_help_panel="Output", help="A table: image, best label, a column for each label."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", rich_help_panel="Output", help="No progress and no warnings.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", rich_help_panel="Output", help="llama.cpp's messages, and tracebacks of errors.")
    ] = False,
    color: Annotated[
        Switch,
        typer.Option("--color", rich_help_panel="Output", help="Colours and drawn bars. [auto]", show_default=False),
    ] = Switch.AUTO,
    *,
    worked: ExampleOptions,
    model: ModelOptions,
    hardware: HardwareOptions,
) -> None:
    """Tell which class an image belongs to, and how sure the model is.

    ggufvlm classify photo.jpg --labels cat,dog,bird

    ggufvlm classify photos/ --labels @labels.txt --csv > classes.csv

    Nothing is generated: each label is scored as the answer, so the probabilities are the model's own. Exit code 5 if
    some images could not be read.
    """
    output = OutputOptions(json=json, quiet=quiet, debug=debug, color=color)
    if json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    params = ClassifyParams(
        labels=tuple(read_list(labels)),
        prompt=text_or_file(prompt) if prompt else None,
        multi=multi,
        per_token=per_token,
        exact=exact,
        calibrate=calibrate,
        system=text_or_file(system) if system else None,
        examples=worked.read(),
    )
    sources = _images(arguments)
    if debug:
        log_to_stderr()
    show = ClassWriter("csv" if as_csv else "json" if json else "bars", params, output, several=len(sources) > 1)
    _classify(sources, params, model, hardware, show)
    show.complaints.leave(show.n_shown)


def _images(arguments: Sequence[str]) -> list[str]:
    sources: list[str] = []
    for argument in rejoined(arguments):
        found, words = expand([argument])
        if words is not None:
            raise ImageError(
                f"no such image: {words}", hint="the question goes through -p, the classes through --labels"
            )
        sources += found
    if sources.count("-") > 1:
        raise UsageError("- can be given once: there is one stdin")
    return sources


def _classify(
    sources: Sequence[str], params: ClassifyParams, model: ModelOptions, hardware: HardwareOptions, show: ClassWriter
) -> None:
    """Show the classes of each image, or why there are none.

    Raises:
        GGUFVLMError: the only one cannot be read.
    """
    config = replace(hardware.config(), n_slots=min(_MOST_LANES, params.n_answers), priority="throughput")
    files = find_files(model, quiet=show.output.quiet)
    with console.Spinner(show.output) as spinner, open_model(files, config, spinner, raw=model.raw) as opening:
        for number, (source, found) in enumerate(_results(opening.ready(), sources, params), 1):
            spinner.hide()
            if isinstance(found, GGUFVLMError):
                if len(sources) == 1:
                    raise found
                show.error(name_of(source), found)
            else:
                show.result(found)
            if number < len(sources):
                spinner.update(f"classifying: {number + 1} of {len(sources)}")


def _results(
    vlm: VLM, sources: Sequence[str], params: ClassifyParams
) -> Iterator[tuple[str, Classification | GGUFVLMError]]:
    """Each image with its classes or with what went wrong; the next one is read meanwhile."""
    with ThreadPoolExecutor(1, "ggufvlm-images") as reader:
        ahead = deque([reader.submit(load_single, source) for source in sources[:1]])
        for index, source in enumerate(sources):
            ahead.extend(reader.submit(load_single, coming) for coming in sources[index + 1 : index + 2])
            try:
                yield source, classify_image(vlm, ahead.popleft().result(), params)
            except GGUFVLMError as error:
                yield source, error
