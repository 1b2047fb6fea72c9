"""The ``ggufvlm`` command: its subcommands, and errors as one line with an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from typing import Annotated

# libgomp reads this once, when it is loaded: it has to be set before numpy or llama.cpp bring it in
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# the client of the Hub reads this once, too: its own hints would end up between ours
os.environ.setdefault("HF_HUB_VERBOSITY", "error")

import typer

from ggufvlm.cli.commands import LazyGroup
from ggufvlm.cli.terminal import streams
from ggufvlm.cli.terminal.image_warnings import tell_image_warnings
from ggufvlm.cli.terminal.interruption import Interrupted, wants_quiet
from ggufvlm.errors import ExitCode, GGUFVLMError
from ggufvlm.version import __version__

app = typer.Typer(
    name="ggufvlm",
    cls=LazyGroup,
    help="Ask a local vision-language model about images.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ggufvlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Known errors become ``error: ...`` and ``hint: ...`` on stderr and an exit code."""
    # damaged EXIF blocks and the like: what matters of it is in our own errors
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    streams.prepare()
    tell_image_warnings()
    try:
        app(prog_name=app.info.name)
    except GGUFVLMError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"error: {streams.one_line(str(error))}", err=True)
        if error.hint:
            typer.echo(f"hint: {streams.one_line(error.hint)}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # of a stream: files are told apart where they are written
        if "--debug" in sys.argv:
            raise
        typer.echo(f"error: {streams.one_line(streams.sentence(error))}", err=True)
        streams.let_go()
        sys.exit(ExitCode.FAILED)
    except (Interrupted, KeyboardInterrupt) as interruption:
        _let_threads_end()
        text = str(interruption) if isinstance(interruption, Interrupted) else "interrupted"
        if text and not wants_quiet():
            typer.echo(text, err=True)
        sys.exit(ExitCode.INTERRUPTED)


def _let_threads_end() -> None:
    """Python waits for threads at its end, and they may wait for a PDF that never ends."""
    decoder = sys.modules.get("ggufvlm.media.documents.decoder")
    if decoder is not None:
        decoder.stop()


def program() -> None:
    """:func:`main` as a program of its own: what follows it is the end of the process."""
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and freed: Ctrl-C has nothing left to stop
