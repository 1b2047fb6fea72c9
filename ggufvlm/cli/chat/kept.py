"""Conversations that go on: ``chat --continue``, ``chat FILE.json``, and ``chat --list``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.chat.kept import find_kept, kept_conversations, kept_folder
from ggufvlm.cli.terminal.console import columns, print_plainly, say
from ggufvlm.errors import GGUFVLMError, InputError
from ggufvlm.files import expanded
from ggufvlm.media.sources.labels import label
from ggufvlm.models.resolve import find_model

if TYPE_CHECKING:
    from ggufvlm.cli.options.shared import ModelOptions

_LONGEST = 72


def show_kept() -> None:
    """One line for each conversation on stdout, the newest first."""
    rows = [
        (each.path.stem, label(each.model), f"{each.n_turns} turn{'' if each.n_turns == 1 else 's'}", label(each.first))
        for each in kept_conversations()
    ]
    if not rows:
        say("no conversation is kept yet")
        return
    width = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else None
    for line in columns(rows).split("\n"):
        print_plainly(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
    say("ggufvlm chat --continue goes on with the first, ggufvlm chat NAME with another")


def take_dialogue(arguments: Sequence[str], *, newest: bool) -> tuple[Path | None, Sequence[str]]:
    """The dialogue that goes on, and the arguments without it.

    Args:
        arguments: as they were typed.
        newest: whether it is the newest conversation.

    Raises:
        UsageError: no conversation is kept.
        InputError: a JSON file that is not there.
    """
    if newest:
        return find_kept(), arguments
    name = arguments[0] if arguments else ""
    if name.lower().endswith(".json") and len(name.split()) == 1:
        path = expanded(name)
        if not path.is_file():
            raise InputError(f"no such file: {label(name)}", hint="ggufvlm chat --list shows what is kept")
        return path, arguments[1:]
    if name and "/" not in name and (kept_folder() / f"{name}.json").is_file():
        return find_kept(name), arguments[1:]
    return None, arguments


def model_that_answered(options: ModelOptions, dialogue: Path) -> ModelOptions:
    """The options with the model of a dialogue, if none is named and that is on this machine.

    Raises:
        InputError: it is no saved dialogue.
    """
    from ggufvlm.chat.file import saved_files, saved_model

    name, files = saved_model(dialogue), saved_files(dialogue)
    if options.model is not None:
        return options
    try:
        find_model(name, fetch=None)
    except GGUFVLMError:
        if files is None or not all(path.is_file() for path in files):
            return options
        return replace(options, model=str(files[0]), mmproj=options.mmproj or files[1])
    return replace(options, model=name)
