"""The commands of a chat: their names, their help, what they do."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from ggufvlm.cli.chat import files as chat_files
from ggufvlm.cli.chat import images as chat_images
from ggufvlm.cli.chat import settings as chat_settings
from ggufvlm.cli.chat.asking import regen
from ggufvlm.cli.chat.context import parse_drop, show_context
from ggufvlm.cli.chat.layout import say_rows
from ggufvlm.cli.chat.session import ChatSession, Leave, counted
from ggufvlm.cli.terminal import console
from ggufvlm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Command:
    """``/name arguments``."""

    name: str
    arguments: str
    help: str
    run: Callable[[ChatSession, str], None]


def _undo(session: ChatSession, _rest: str) -> None:
    turn = session.chat.undo()
    session.changed()
    images = f" and {counted(len(turn.images), 'image')}" if turn.images else ""
    session.tell(f"forgot the last question{images}: {counted(len(session.chat.turns), 'turn')} left")


def _clear(session: ChatSession, _rest: str) -> None:
    session.chat.clear()
    session.keeper.begin_anew()
    session.changed()
    session.tell("all is forgotten; system message and settings stay")


def _stats(session: ChatSession, _rest: str) -> None:
    if session.chat.last_answer is None:
        raise UsageError("there is no answer yet")
    console.show_stats(session.chat.last_answer, session.output)


def _help(session: ChatSession, _rest: str) -> None:
    rows = [(f"/{command.name} {command.arguments}".strip(), command.help) for command in COMMANDS.values()]
    say_rows(rows)
    session.show(HELP)


def _leave(_session: ChatSession, _rest: str) -> None:
    raise Leave


HELP = '''
A path or file:// URL of an image in a message is staged too.
A message of several lines stands between """ and """, or has Alt-Enter between its lines.
Ctrl-C stops an answer and keeps what was said; at an empty line a second one leaves, as Ctrl-D does.'''

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "image",
            "PATH|URL...",
            "stage images; of PDFs and TIFFs --pages 1-5, of videos --every 2s",
            chat_images.stage,
        ),
        Command("paste", "", "stage the image on the clipboard", chat_images.paste),
        Command("crop", "X Y W H", "stage a part of the last image; pixels, or per cent", chat_images.cut),
        Command("zoom", "[FACTOR [X Y]]", "stage its middle, or what is around X Y, enlarged", chat_images.zoom),
        Command("images", "", "list the images", chat_images.list_images),
        Command("show", "[N]", "show an image; the last one", chat_images.show),
        Command("drop", "N | turn [N]", "take out an image, or a question with its answer", parse_drop),
        Command("replace", "N PATH", "put another image in the place of one", chat_images.put_in_place),
        Command("system", "[TEXT|@FILE|off]", "the system message", chat_settings.system),
        Command("model", "[NAME]", "let another model go on", chat_settings.model),
        Command("set", "[KEY VALUE]", "settings, such as: temp 0, max_tokens 100, seed 1", chat_settings.set_value),
        Command("think", "[on|off|show|hide]", "think before answering; show what is thought", chat_settings.think),
        Command("regen", "", "answer the last question again", lambda session, _rest: regen(session)),
        Command("undo", "", "forget the last question and its answer", _undo),
        Command("clear", "", "forget all questions and images", _clear),
        Command("save", "FILE", "save the dialogue as JSON", chat_files.save),
        Command("load", "FILE", "go on with a saved dialogue", chat_files.load),
        Command("export", "FILE.md", "write it as Markdown, with copies of its images", chat_files.export),
        Command("stats", "", "tokens and times of the last answer", _stats),
        Command("context", "", "what occupies the context", lambda session, _rest: show_context(session)),
        Command("help", "", "this list", _help),
        Command("exit", "", "leave; Ctrl-D does too", _leave),
    )
}
_ALIASES = {"quit": "exit", "bye": "exit", "?": "help", "h": "help", "q": "exit", "img": "image"}


def run_command(session: ChatSession, line: str) -> None:
    """Do what ``/name arguments`` says.

    Raises:
        UsageError: there is no such command; the hint names the nearest.
        Leave: it was the last one.
        GGUFVLMError: what went wrong.
    """
    name, _, rest = line.strip().partition(" ")
    name = name.removeprefix("/").lower()
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        near = difflib.get_close_matches(name, [*COMMANDS, *_ALIASES], n=1, cutoff=0.5)
        hint = f"did you mean /{near[0]}? /help lists all" if near else "/help lists all"
        raise UsageError(f"unknown command: /{name}", hint=hint)
    if rest.strip() and not command.arguments:
        raise UsageError(f"/{command.name} takes nothing behind it, not {rest.strip()!r}")
    command.run(session, rest.strip())
