"""Commands and groups of commands as Typer has them, with our own help and our own errors."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, cast, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from ggufvlm.cli.usage import help_page

_WRONG_USAGE = cast("type[Exception]", typer.BadParameter.mro()[1])
"""What Typer raises for a command line that is none: it has no public name for it."""


@contextmanager
def _our_errors(command: Any, context: Any, arguments: list[str]) -> Iterator[None]:
    """Within this block errors of Typer become ours.

    Raises:
        UsageError: the command line is wrong.
    """
    try:
        yield
    except _WRONG_USAGE as error:
        from ggufvlm.cli.usage.mistakes import our_error

        raise our_error(error, command, context, arguments) from None


class Command(TyperCommand):
    """A command."""

    allow_extra_args = True  # they are looked at below, and told as other errors are

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Read the arguments.

        Raises:
            UsageError: they are wrong.
        """
        given = list(args)
        with _our_errors(self, ctx, given):
            rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            from ggufvlm.cli.usage.mistakes import too_many

            raise too_many(rest, self, ctx)
        return rest

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the help."""
        help_page.write(self, ctx, formatter)


class Group(TyperGroup):
    """A command that has others."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Read what stands before the name of the command.

        Raises:
            UsageError: it is wrong.
        """
        if not args and self.no_args_is_help:
            return super().parse_args(ctx, args)  # the help, as an error
        given = list(args)
        with _our_errors(self, ctx, given):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that the first argument names.

        Raises:
            UsageError: there is none of that name.
        """
        command = self.commands.get(args[0])
        if command is None and not ctx.resilient_parsing:
            from ggufvlm.cli.usage.mistakes import unknown_command

            raise unknown_command(args, self, ctx)
        return args[0] if command else None, command, args[1:]

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the help."""
        help_page.write(self, ctx, formatter)


def build(name: str, function: Callable[..., None]) -> Any:
    """A command of a function whose parameters are annotated as Typer wants it."""
    for annotation in inspect.get_annotations(function, eval_str=True).values():
        origin: object = get_origin(annotation)
        kind, *notes = get_args(annotation) if origin is Annotated else (annotation,)
        for note in notes:
            if isinstance(note, typer.models.OptionInfo) and note.metavar is None:
                note.metavar = _name_of_value(kind)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name, cls=Command)(function)
    return typer.main.get_command(alone)


def _name_of_value(kind: Any) -> str | None:
    """How help calls a value of this type; None for a switch, which takes none."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if issubclass(kind, Enum):
        return "|".join(item.value for item in kind)
    names = {bool: None, int: "N", float: "X", Path: "FILE"}
    return names.get(kind, "TEXT")
