"""``ggufvlm bench [MODEL]``: how fast this machine runs a model, and how near it comes to what the machine can."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ggufvlm.cache.written import remember
from ggufvlm.cli.open_model import find_files
from ggufvlm.cli.options.models import YesOption
from ggufvlm.cli.options.overwrite import OverwriteOption, check_outputs
from ggufvlm.cli.options.shared import HardwareOptions, ModelOptions, OutputOptions, Switch, grouped, option
from ggufvlm.cli.terminal import console
from ggufvlm.cli.tools import bench_table
from ggufvlm.cli.usage.complete import model_names, projector_names
from ggufvlm.errors import UsageError
from ggufvlm.media import load
from ggufvlm.tools.bench.images import make_image
from ggufvlm.tools.bench.job import BenchJob, make_job
from ggufvlm.tools.bench.plot import check_target, save_plot
from ggufvlm.tools.bench.suite import Report, parse_groups, run_suite

_IN_TERMINAL = "-"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured, and what becomes of it."""

    panel: ClassVar[str] = "Options"

    model_option: Annotated[
        str | None,
        option("-m", "--model", help="The model, in place of MODEL.", metavar="MODEL", autocompletion=model_names),
    ] = None
    mmproj: Annotated[
        Path | None,
        option(
            "--mmproj",
            help="Projector file, if it is not the one beside the model.",
            metavar="FILE",
            autocompletion=projector_names,
        ),
    ] = None
    image: Annotated[
        str | None, option("--image", help="The image. [one of 448x448 pixels, always the same]", metavar="FILE")
    ] = None
    n_tokens: Annotated[
        int, option("-n", "--max-tokens", help="Length of the answers, in tokens. [64]", min=4, max=100_000)
    ] = 64
    repeat: Annotated[
        int, option("--repeat", help="Runs that count; one before them does not. [3]", min=1, max=1000)
    ] = 3
    only: Annotated[
        str,
        option(
            "--only",
            help="Measure these alone: encode, prefill, decode, first-token, batch, memory, roofline; with commas.",
            metavar="WHAT,...",
        ),
    ] = ""
    against: Annotated[
        Path | None,
        option(
            "--against",
            help="Folder with llama-mtmd-cli, llama-bench and llama-server: run them beside, on the same files.",
            metavar="DIR",
        ),
    ] = None
    plot: Annotated[
        str | None,
        option("--plot", help="Draw bars into a .png or .svg file, or in the terminal (-).", metavar="FILE|-"),
    ] = None
    overwrite: OverwriteOption = False


@dataclass(frozen=True, kw_only=True)
class ShownOptions:
    """How it is shown."""

    panel: ClassVar[str] = "Output"

    json: Annotated[bool, option("--json", help="One JSON object, explained in `pydoc ggufvlm.tools.bench`.")] = False
    quiet: Annotated[bool, option("-q", "--quiet", help="No progress.")] = False
    debug: Annotated[bool, option("--debug", help="Tracebacks of errors.")] = False
    color: Annotated[Switch, option("--color", help="Colours, and bars below the table. [auto]")] = Switch.AUTO


@grouped
def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            autocompletion=model_names,
            help="A name such as qwen2-vl-2b:Q8_0, USER/REPO[:QUANT], FILE.gguf. [the default model]",
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,
    *,
    measured: BenchOptions,
    hardware: HardwareOptions,
    shown: ShownOptions,
) -> None:
    """Measure how fast this machine runs a model.

    ggufvlm bench qwen2-vl-2b --only encode,decode

    ggufvlm bench --plot speeds.png

    Each number is a median, with the least and the most. "Memory gives" and "cores give" are what reading and
    multiplying by numpy reach here with as many threads; the lines below them say how near the model comes to that.
    Nothing else should run meanwhile.
    """
    groups = parse_groups(measured.only)
    plot_to = None if measured.plot in (None, _IN_TERMINAL) else Path(measured.plot or "")
    if plot_to is not None:
        check_target(plot_to)
        read = [measured.image, model, measured.model_option, measured.mmproj]
        check_outputs([plot_to], read, overwrites=measured.overwrite)
    output = OutputOptions(quiet=shown.quiet, debug=shown.debug, color=shown.color)
    job = _job(model, measured, hardware, yes=yes, quiet=shown.quiet)
    report = _measure(job, groups, measured.against, output)
    if plot_to is not None:
        save_plot(report, plot_to)
        remember(plot_to)
    if shown.json:
        indent = 2 if sys.stdout.isatty() else None
        typer.echo(json_module.dumps(report.to_dict(), ensure_ascii=False, indent=indent))
    else:
        _show(
            report, output, chart=measured.plot == _IN_TERMINAL or (measured.plot is None and console.can_draw(output))
        )


def _job(model: str | None, measured: BenchOptions, hardware: HardwareOptions, *, yes: bool, quiet: bool) -> BenchJob:
    if model and measured.model_option:
        raise UsageError(f"two models: {model!r} and -m {measured.model_option!r}")
    config = hardware.config()
    image = load(measured.image) if measured.image else make_image()
    chosen = ModelOptions(model=model or measured.model_option, mmproj=measured.mmproj, yes=yes)
    files = find_files(chosen, quiet=quiet)
    return make_job(files, config, image, repeat=measured.repeat, n_tokens=measured.n_tokens)


def _measure(job: BenchJob, groups: tuple[str, ...], against: Path | None, output: OutputOptions) -> Report:
    if against is not None and not against.is_dir():
        raise UsageError(f"{against}: no such folder", hint="the one with llama-bench and its like")
    with console.Spinner(output) as spinner:
        report = run_suite(job, groups, spinner.update)
        if against is not None:
            from ggufvlm.tools.bench.against import compare_all  # imports llama.cpp

            report.ratios, left_out = compare_all(job, against, spinner.update)
            report.left_out += left_out
    return report


def _show(report: Report, output: OutputOptions, *, chart: bool) -> None:
    for line in bench_table.heading(report):
        typer.echo(line)
    typer.echo()
    typer.echo(bench_table.results_table(report.results))
    if report.ratios:
        typer.echo()
        typer.echo(bench_table.ratios_table(report.ratios))
    for reason in report.left_out:
        typer.echo(f"left out: {reason}")
    if chart:
        sys.stdout.flush()
        bench_table.draw_chart(report, console.make_console(output))
