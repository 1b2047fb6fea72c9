"""``ggufvlm help``, ``ggufvlm version``: the guide, the options of the commands, and what program this is."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ggufvlm.cli.options.shared import OutputOptions, Switch
from ggufvlm.cli.terminal import console
from ggufvlm.errors import UsageError
from ggufvlm.version import __version__

_MAX_COLUMNS = 100
_LINK_IN_PACKAGE = re.compile(r"\[([^\]\n]+)\]\((?!https?:)[^)\s]+\)")


def show_help(
    context: typer.Context,
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC|COMMAND]", help="What to read about. [a list of topics]", show_default=False),
    ] = None,
    color: Annotated[
        Switch, typer.Option("--color", help="Colours and rendered Markdown. [auto]", show_default=False)
    ] = Switch.AUTO,
) -> None:
    """Show a page of the guide, or what a command takes.

    ggufvlm help models

    ggufvlm help describe

    On a terminal pages are rendered, in a pipe they are Markdown.
    """
    from ggufvlm.guide import pages

    wanted = " ".join(topic or ())
    if not wanted:
        _show(pages.read_page(pages.INDEX), OutputOptions(color=color))
    elif wanted in pages.topics():
        _show(pages.read_page(wanted), OutputOptions(color=color))
    else:
        console.print_plainly(_options_of(wanted, context))
        more = pages.topic_about(wanted.split()[0])
        if more:
            console.print_plainly(f"\nThe guide: ggufvlm help {more}")


def show_version() -> None:
    """Show the version.

    ggufvlm version

    ggufvlm doctor
    """
    console.print_plainly(f"ggufvlm {__version__}")


def _show(page: str, output: OutputOptions) -> None:
    if not console.can_draw(output):
        console.print_plainly(page.rstrip())
        return
    from rich.markdown import Markdown

    terminal = console.make_console(output)
    text = _LINK_IN_PACKAGE.sub(r"\1", page)  # a terminal cannot follow them
    terminal.print(Markdown(text, code_theme="ansi_dark"), width=min(terminal.width, _MAX_COLUMNS))


def _options_of(name: str, context: typer.Context) -> str:
    """The help of a command, or of a command of a group such as ``cache clear``.

    Raises:
        UsageError: there is no such command, nor a topic of that name.
    """
    from ggufvlm.guide import pages

    inner, command = context.find_root(), context.find_root().command
    for word in name.split():
        found = getattr(command, "commands", {}).get(word)
        if found is None:
            raise UsageError(
                f"there is no topic and no command {name!r}; topics: {', '.join(pages.topics())}",
                hint="ggufvlm help lists the topics, ggufvlm --help the commands",
            )
        command = found
        inner = command.make_context(word, [], parent=inner, resilient_parsing=True)
    return command.get_help(inner).rstrip()
