"""Questions on the terminal that take yes or no."""

from __future__ import annotations

import sys

import typer

from ggufvlm.cli.terminal.interruption import Interrupted


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask on stderr.

    Raises:
        Interrupted: Ctrl-C or Ctrl-D.
    """
    try:
        return typer.confirm(question, default=default, err=True)
    except typer.Abort:
        raise Interrupted("\ninterrupted") from None
