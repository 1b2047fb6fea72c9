"""``ggufvlm chat [IMAGE...]``: a dialogue that keeps its images."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.chat.chat import Chat
from ggufvlm.chat.kept import Keeper, kept_folder
from ggufvlm.cli.ask.ask import log_to_stderr
from ggufvlm.cli.chat import layout, repl
from ggufvlm.cli.chat.documents import begin_with
from ggufvlm.cli.chat.files import go_on_with
from ggufvlm.cli.chat.kept import model_that_answered, show_kept, take_dialogue
from ggufvlm.cli.chat.model import ModelLoader
from ggufvlm.cli.chat.repl import LineReader, TerminalReader
from ggufvlm.cli.chat.session import ChatSession, MessageSource
from ggufvlm.cli.options.documents import DocumentOptions
from ggufvlm.cli.options.shared import (
    AnswerOptions,
    HardwareOptions,
    ModelOptions,
    SamplingOptions,
    grouped,
    text_or_file,
)
from ggufvlm.cli.options.stdin_text import STDIN
from ggufvlm.cli.terminal.interruption import leaving_at_once
from ggufvlm.config import SamplingParams
from ggufvlm.errors import UsageError
from ggufvlm.media import expand
from ggufvlm.media.sources.labels import label

if TYPE_CHECKING:
    from pathlib import Path

    from ggufvlm.config import SamplingSettings
    from ggufvlm.media.documents.document import Selection


@grouped
def chat(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE...] [MESSAGE]",
            help="Images, PDFs, videos to begin with, as for describe; then, if you like, the first message.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--system",
            rich_help_panel="Question",
            help="System message, or @FILE.",
            metavar="TEXT|@FILE",
            show_default=False,
        ),
    ] = None,
    goes_on: Annotated[
        bool, typer.Option("--continue", help="Go on with the newest conversation.", show_default=False)
    ] = False,
    lists: Annotated[
        bool, typer.Option("--list", help="List the conversations that are kept, and leave.", show_default=False)
    ] = False,
    *,
    documents: DocumentOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: AnswerOptions,
) -> None:
    """Talk about images: a dialogue that keeps its images.

    ggufvlm chat photo.jpg

    ggufvlm chat --continue

    ggufvlm chat report.pdf --pages 1-3 "What is this about?"

    /help lists the commands. Answers go to stdout, all else to stderr. Without a terminal the messages and commands
    are the lines of stdin, and the first error ends it: ggufvlm chat < script.txt; --json gives one line a turn.
    """
    if lists:
        show_kept()
        return
    dialogue, named = take_dialogue(arguments or [], newest=goes_on)
    sources, first = expand(named, as_text="a message that looks like a file name is typed in the chat")
    if STDIN in (first, system):
        raise UsageError(f"{STDIN}: messages come from stdin", hint="name a file: @FILE")
    if "-" in sources:
        raise UsageError("- is no image here: messages come from stdin", hint="ggufvlm chat photo.jpg")
    if output.debug:
        log_to_stderr()
    selection = documents.selection()
    session = _open(dialogue, sources, selection, system, model, sampling, hardware, output)
    with closing(session):
        repl.run(session, text_or_file(first) if first else None)
    if session.exit_code:
        raise typer.Exit(session.exit_code)


def _open(
    dialogue: Path | None,
    sources: list[str],
    selection: Selection,
    system: str | None,
    model: ModelOptions,
    sampling: SamplingOptions,
    hardware: HardwareOptions,
    output: AnswerOptions,
) -> ChatSession:
    """Begin to load the model; while it loads, read the images and make the line ready."""
    model = model if dialogue is None else model_that_answered(model, dialogue)
    loader = ModelLoader(model, hardware.config(), output)
    settings, system = sampling.settings(), text_or_file(system) if system else None
    SamplingParams(**settings)  # what makes no sense is refused before anything is loaded
    files = loader.find(model.model)
    with leaving_at_once(quiet=output.quiet):
        vlm = loader.begin(files, waits_for_images=bool(sources) and dialogue is None)
        reader = _reader(output)
        keeper = Keeper(_if_kept(dialogue), is_script=not reader.is_interactive)
        chat = Chat(vlm, system=system, **settings)
        session = ChatSession(chat, loader, reader, output, keeper, shows_thoughts=output.show_thinking)
        loader.on_change = session.reader.refresh
        if session.reader.is_interactive and not output.quiet:
            layout.say(f"{files.name}; /help lists the commands, Ctrl-D leaves")
        try:
            if dialogue is not None:
                _go_on(session, dialogue, system, settings)
            begin_with(session, sources, selection)
        except BaseException:
            session.close()  # a model that still waits for its images would wait indefinitely
            raise
    return session


def _if_kept(dialogue: Path | None) -> Path | None:
    """A file of the user's own is left as it is."""
    return dialogue if dialogue is not None and dialogue.absolute().parent == kept_folder().absolute() else None


def _go_on(session: ChatSession, dialogue: Path, system: str | None, settings: SamplingSettings) -> None:
    go_on_with(session, dialogue)
    chat = session.chat
    if chat.turns:
        session.tell(f"the last question: {label(chat.turns[-1].text)}")
    chat.system = chat.system if system is None else system
    chat.settings = {**chat.settings, **settings}


def _reader(output: AnswerOptions) -> MessageSource:
    if not sys.stdin.isatty():
        return LineReader(is_interactive=False)
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return LineReader(is_interactive=True)
    return TerminalReader(output)
