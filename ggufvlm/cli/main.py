"""The ``ggufvlm`` command: its subcommands, and errors as one line with an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

# libgomp reads this once, when it is loaded: it has to be set before numpy or llama.cpp bring it in
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import typer

from ggufvlm import __version__
from ggufvlm.cli import demo, describe
from ggufvlm.errors import GGUFVLMError

app = typer.Typer(
    name="ggufvlm",
    help="Ask a local vision-language model about pictures.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(describe.describe)
app.command()(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ggufvlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Known errors become ``error: ...`` and ``hint: ...`` on stderr and an exit code."""
    try:
        app()
    except GGUFVLMError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"error: {error}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
