"""``ggufvlm detect IMAGE... [LABEL...]``: where things are in images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ggufvlm.cli.ask.ask import log_to_stderr
from ggufvlm.cli.detect.images import drawn_paths
from ggufvlm.cli.detect.options import Format, ResultOptions, SearchOptions
from ggufvlm.cli.detect.output import make_writer
from ggufvlm.cli.detect.run import DetectRun, Search
from ggufvlm.cli.options.constraint import read_list
from ggufvlm.cli.options.overwrite import check_outputs
from ggufvlm.cli.options.shared import HardwareOptions, ModelOptions, SamplingOptions, grouped, text_or_file
from ggufvlm.config import SamplingParams
from ggufvlm.errors import ExitCode, UsageError
from ggufvlm.grounding.labels import clean_labels
from ggufvlm.media import ArgumentKind, classify, expand, rejoined


@grouped
def detect(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... [LABEL...]",
            help="Files, folders, patterns, URLs, - for stdin; then what to look for. [everything]",
            show_default=False,
        ),
    ],
    search: SearchOptions,
    result: ResultOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
) -> None:
    """Find objects in images: boxes in pixels of the upright image, for models that can tell where things are.

    ggufvlm detect photo.jpg cat "red car" --save boxes.png

    ggufvlm detect photos/ person --format coco -o boxes.json

    In a pipe a line is: label, left, top, right, bottom, image, with tabs between. Finding nothing is no error. Exit
    code 5 if some images could not be read, 6 if an answer fell into a repetition loop and was cut.
    """
    output, kind = result.output(), result.chosen_format()
    if output.debug:
        log_to_stderr()
    if search.points and kind in (Format.COCO, Format.YOLO):
        raise UsageError(f"--format {kind.value} holds boxes only, no points", hint="--format json or labelme")
    sources, labels = _read_arguments(arguments, search.labels)
    settings = sampling.settings()
    SamplingParams(**settings)  # what makes no sense is refused before anything is loaded
    wanted = Search(
        sources=sources,
        labels=labels,
        points=search.points,
        convention=search.convention,
        prompt=text_or_file(search.prompt) if search.prompt else None,
        system=text_or_file(search.system) if search.system else None,
        settings=settings,
    )
    writer = make_writer(kind, result.out, sources, labels, output)
    paths = drawn_paths(result.save, sources) if result.save is not None else None
    read = [*sources, search.labels, search.prompt, search.system, model.model, model.mmproj]
    check_outputs([*writer.outputs, *(paths or ())], read, overwrites=result.overwrite)
    job = DetectRun(wanted, output, writer, paths)
    job.run(model, hardware.config())
    job.complaints.leave(job.n_found)
    if job.was_cut:
        raise typer.Exit(ExitCode.CUT_BY_GUARD)


def _read_arguments(arguments: Sequence[str], more_labels: str | None) -> tuple[list[str], tuple[str, ...]]:
    """Images and labels.

    Raises:
        UsageError: no image, an image behind a label, an empty label.
        ImageError: an image that does not exist.
        InputError: a file of labels that cannot be read.
    """
    arguments = rejoined(arguments)
    kinds = [classify(argument) for argument in arguments]
    n_images = kinds.index(ArgumentKind.TEXT) if ArgumentKind.TEXT in kinds else len(kinds)
    sources, _ = expand(arguments[:n_images])
    words = arguments[n_images:]
    for word, kind in zip(words, kinds[n_images:], strict=True):
        if kind is ArgumentKind.MISSING_IMAGE:
            expand([word])
        if kind is not ArgumentKind.TEXT:
            hint = f'images come first; -l "{word}" is always a label'
            raise UsageError(f'an image behind the label "{words[0]}": {word}', hint=hint)
    if not sources:
        raise UsageError("no image given", hint='images first: photo.jpg cat "red car"; - reads one from stdin')
    if sources.count("-") > 1:
        raise UsageError("- can be given once: there is one stdin")
    return sources, clean_labels([*words, *_split(more_labels)])


def _split(given: str | None) -> list[str]:
    labels = read_list(given) if given is not None else []
    if given is not None and not labels:
        raise UsageError(f"-l {given}: there is no label in it")
    return labels
