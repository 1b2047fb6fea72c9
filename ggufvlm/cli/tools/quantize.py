"""``ggufvlm quantize IN OUT TYPE``: a model or a projector in a smaller type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.config import MAX_THREADS


def quantize(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="GGUF to read; of a split model its first part.", show_default=False)
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="GGUF to write.", show_default=False)],
    type_name: Annotated[
        str,
        typer.Argument(
            metavar="TYPE", help="Models: Q4_K_M, Q8_0 and so on. Projectors: Q8_0, BF16, F16, F32.", show_default=False
        ),
    ],
    force: Annotated[bool, typer.Option("-f", "--force", help="Overwrite OUT.", show_default=False)] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "-t", "--threads", min=1, max=MAX_THREADS, help="CPU threads. [physical cores]", show_default=False
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No progress and no warnings.", show_default=False)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks of errors.", show_default=False)] = False,
) -> None:
    """Make a smaller file of a language model or of its projector.

    ggufvlm quantize model-F16.gguf model-Q4_K_M.gguf Q4_K_M

    ggufvlm quantize mmproj-F16.gguf mmproj-Q8_0.gguf Q8_0
    """
    from ggufvlm.tools.quantize import prepare, run

    job = prepare(source, target, type_name, force=force)
    if job.coarse_source and not job.is_projector and not quiet:
        console.say(f"warning: {source.name} is quantized already; from F16 or Q8_0 the result is better")
    with console.Spinner(OutputOptions(quiet=quiet, debug=debug)) as spinner:
        result = run(
            job,
            n_threads=threads,
            progress=lambda done, total: spinner.update(f"{job.type}: tensor {done} of {total}"),
        )
    share = result.size_after / result.size_before if result.size_before else 0.0
    typer.echo(f"{source.name}  {_size(result.size_before)}")
    typer.echo(f"{target.name}  {_size(result.size_after)}, {share:.0%} of that")


def _size(n: int) -> str:
    return f"{n / 1e6:,.1f} MB"
