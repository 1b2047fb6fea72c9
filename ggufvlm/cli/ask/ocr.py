"""``ggufvlm ocr FILE...``: images and PDFs as text or Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from ggufvlm.cli.ask.ask import Complaints, cut_after, log_to_stderr
from ggufvlm.cli.ask.ocr_output import PageWriter, Target
from ggufvlm.cli.open_model import find_files, open_model
from ggufvlm.cli.options.overwrite import OverwriteOption, check_outputs
from ggufvlm.cli.options.shared import (
    HardwareOptions,
    ModelOptions,
    SamplingOptions,
    TalkOptions,
    grouped,
    option,
    text_or_file,
)
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import Interrupted
from ggufvlm.config import SamplingParams
from ggufvlm.errors import ExitCode
from ggufvlm.tasks.ocr.ocr import needs_model, read_pages
from ggufvlm.tasks.ocr.page import PageSettings, page_budget
from ggufvlm.tasks.ocr.places import find_places, find_sources

if TYPE_CHECKING:
    from ggufvlm.cli.options.shared import OutputOptions
    from ggufvlm.tasks.ocr.page import Page
    from ggufvlm.tasks.ocr.places import PagePlace
    from ggufvlm.vlm.vlm import VLM

_MARKDOWN_NAMES = (".md", ".markdown")


class Form(str, Enum):
    """What pages become."""

    TEXT = "text"
    MARKDOWN = "markdown"


class PageRotation(str, Enum):
    """How pages are turned."""

    AUTO = "auto"
    NONE = "0"
    RIGHT = "90"
    OVER = "180"
    LEFT = "270"


class Layer(str, Enum):
    """What to do with the text that a PDF carries."""

    IGNORE = "ignore"
    PREFER = "prefer"


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How pages are read."""

    panel: ClassVar[str] = "Reading"

    prompt: Annotated[
        str | None,
        option("-p", "--prompt", help="In place of the model's own OCR prompt, or @FILE.", metavar="TEXT|@FILE"),
    ] = None
    system: Annotated[str | None, option("-s", "--system", help="System message, or @FILE.", metavar="TEXT|@FILE")] = (
        None
    )
    form: Annotated[Form | None, option("-f", "--format", help="text or markdown. [text; markdown for -o FILE.md]")] = (
        None
    )
    pages: Annotated[
        str | None, option("--pages", help="Pages of PDFs and TIFFs, such as 1-5,8 or 10-. [all]", metavar="PAGES")
    ] = None
    dpi: Annotated[float, option("--dpi", help="Resolution of pages of PDFs, in dots per inch. [150]", min=10.0)] = (
        150.0
    )
    rotate: Annotated[
        PageRotation,
        option("--rotate", help="Turn pages clockwise by 90, 180 or 270 degrees; auto finds out for each page. [0]"),
    ] = PageRotation.NONE
    text_layer: Annotated[
        Layer,
        option("--text-layer", help="prefer takes the text that a PDF carries itself, without the model. [ignore]"),
    ] = Layer.IGNORE
    retries: Annotated[
        int, option("--retries", help="Times a page is read again whose answer is a repetition loop. [3]", min=0)
    ] = 3
    slots: Annotated[int, option("--slots", help="Pages that are read at the same time. [4]", min=1, max=64)] = 4


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What becomes of the pages."""

    panel: ClassVar[str] = "Output"

    out: Annotated[Path | None, option("-o", "--output", help="Write here in place of stdout.", metavar="FILE")] = None
    overwrite: OverwriteOption = False
    join: Annotated[
        bool, option("--join", help="One running text: divided words and sentences go on from page to page.")
    ] = False
    drop_repeated: Annotated[
        bool, option("--drop-repeated", help="Leave out running heads and feet; the result comes when all is read.")
    ] = False
    json: Annotated[bool, option("--json", help="One JSON object with the text and all pages.")] = False


@grouped
def ocr(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Images, PDFs, TIFFs of several pages, folders, patterns, http(s) URLs, - for stdin.",
            show_default=False,
        ),
    ],
    reading: ReadingOptions,
    result: PageOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    talk: TalkOptions,
) -> None:
    """Read the text of images and PDFs, page by page, as text or Markdown.

    ggufvlm ocr scan.pdf --pages 1-5 -m glm-ocr

    ggufvlm ocr scans/ --join -o book.md

    Each model is asked in the words it was trained with. A form feed stands between pages of text, a comment with
    their name before pages of Markdown. Exit code 5 if some pages could not be read, 6 after a
    repetition loop.
    """
    output = replace(talk.output(), json=result.json)
    if output.debug:
        log_to_stderr()
    how = _reading(reading, result, sampling)
    sources = find_sources(files)
    if result.out is not None:
        read = [*sources, reading.prompt, reading.system, model.model, model.mmproj]
        check_outputs([result.out], read, overwrites=result.overwrite)
    places = find_places(sources, reading.pages)
    writer = PageWriter(
        result.out, how.wanted, len(places), joins=result.join, drops=result.drop_repeated, writes=not result.json
    )
    pages: list[Page] = []
    shows_pages = result.out is None and sys.stdout.isatty() and not output.json
    try:
        with (
            console.Spinner(output) as spinner,
            _open(places, how, reading, model, hardware, spinner) as engine,
        ):
            complaints = Complaints(spinner.say)
            spinner.update(f"reading page 1 of {len(places)}")
            for page in read_pages(engine, places, how):
                if shows_pages:
                    spinner.hide()
                pages.append(page)
                _take(page, complaints, writer, spinner, output)
                if len(pages) < len(places):
                    spinner.update(f"reading page {len(pages) + 1} of {len(places)}")
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {len(pages)} of {len(places)} pages were read") from None
    finally:  # what was read is kept
        writer.end()
        if result.json and pages:
            _write_json(writer.text, pages, how, result.out)
    _report(pages, places, how, result.out, output)
    complaints.leave(sum(page.error is None for page in pages))
    if any(page.is_given_up for page in pages):
        raise typer.Exit(ExitCode.CUT_BY_GUARD)


def _reading(reading: ReadingOptions, result: PageOptions, sampling: SamplingOptions) -> PageSettings:
    settings = sampling.settings()
    SamplingParams(**settings)  # what makes no sense is refused before anything is loaded
    named = result.out is not None and result.out.suffix.lower() in _MARKDOWN_NAMES
    form = reading.form or (Form.MARKDOWN if named else Form.TEXT)
    return PageSettings(
        wanted=form.value,
        prompt=None if reading.prompt is None else text_or_file(reading.prompt),
        system=text_or_file(reading.system) if reading.system else None,
        rotate=None if reading.rotate is PageRotation.AUTO else int(reading.rotate.value),
        takes_layer=reading.text_layer is Layer.PREFER,
        n_retries=reading.retries,
        dpi=reading.dpi,
        measures=result.json,
        settings=settings,
    )


@contextmanager
def _open(
    places: Sequence[PagePlace],
    how: PageSettings,
    reading: ReadingOptions,
    model: ModelOptions,
    hardware: HardwareOptions,
    spinner: console.Spinner,
) -> Iterator[VLM | None]:
    """The model, unless the pages carry their text."""
    if not needs_model(places, how):
        yield None
        return
    config = replace(hardware.config(), n_slots=min(reading.slots, len(places)), priority="throughput")
    files = find_files(model, quiet=spinner.output.quiet)
    if config.image_max_tokens is None and config.image_min_tokens is None:
        config = replace(config, image_max_tokens=page_budget(files))
    with open_model(files, config, spinner, raw=model.raw) as opening:
        yield opening.ready()


def _take(
    page: Page, complaints: Complaints, writer: PageWriter, spinner: console.Spinner, output: OutputOptions
) -> None:
    if page.error is None:
        writer.add(page)
    elif page.place.file.name in str(page.error):
        complaints.add(page.error)
    else:
        complaints.add(page.error, page.place.name)
    if output.quiet:
        return
    if page.finish_reason == "length":
        spinner.say(f"warning: {page.place.name}: cut {cut_after(page.n_tokens, page.stop_reason)}")
    if page.is_given_up:
        spinner.say(f"warning: {page.place.name}: cut as a repetition loop; another model may do better")


def _write_json(text: str, pages: Sequence[Page], how: PageSettings, out: Path | None) -> None:
    envelope = {
        "model": next((page.model for page in pages if page.model is not None), None),
        "format": how.wanted,
        "text": text,
        "pages": [page.to_dict() for page in pages],
    }
    indent = 2 if out is not None or sys.stdout.isatty() else None
    target = Target(out)
    target.write(json.dumps(envelope, ensure_ascii=False, indent=indent) + "\n")
    target.close()


def _report(
    pages: Sequence[Page], places: Sequence[PagePlace], how: PageSettings, out: Path | None, output: OutputOptions
) -> None:
    """Say what became of the pages, and what may help."""
    if output.quiet:
        return
    n = sum(page.error is None for page in pages)
    if out is not None and n:
        console.say(f"{out}: {n} page{'s' if n != 1 else ''}")
    layers = sum(place.layer is not None for place in places)
    if layers and not how.takes_layer:
        console.say(f"{layers} of {len(places)} pages carry their text: --text-layer prefer takes it as it is")
