"""Tab in a chat: commands, their arguments, image files."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from ggufvlm.cli.chat.commands import COMMANDS
from ggufvlm.cli.chat.settings import names
from ggufvlm.files import expanded
from ggufvlm.media.decoding.formats import is_document_name, is_image_name

_WORD = re.compile(r"(?:\\.|[^\s\\])+\\?|\\")
_MOST_ENTRIES = 500
_ENDINGS = {"load": ".json", "save": ".json", "export": ".md"}


class ChatCompleter(Completer):
    """Completes the word before the cursor."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """As prompt_toolkit asks for it."""
        line = document.text_before_cursor
        command = re.match(r"/(\w*)(\s+)?", line)
        if command is None or "\n" in line:
            yield from _files(_last_word(line))
        elif command[2] is None:
            yield from _words((f"/{name}" for name in COMMANDS), line)
            yield from _files(line)
        elif command[1] == "set":
            yield from _words(names(), _last_word(line))
        elif command[1] == "model":
            yield from _words(_models(), _last_word(line))
        else:
            yield from _files(_last_word(line), _ENDINGS.get(command[1]))


def _last_word(line: str) -> str:
    last = deque(_WORD.finditer(line), maxlen=1)
    return last[0][0] if last and last[0].end() == len(line) else ""


def _words(offered: Iterable[str], begun: str) -> Iterator[Completion]:
    for word in offered:
        if word.startswith(begun):
            yield Completion(word, start_position=-len(begun))


def _models() -> list[str]:
    from ggufvlm.models.registry import load_registry

    return [spec.id for spec in load_registry()]


def _files(begun: str, ending: str | None = None) -> Iterator[Completion]:
    """Folders and images (or files of another ending) that begin so; blanks get a backslash."""
    typed = begun.lstrip("\"'")
    folder, slash, start = re.sub(r"\\(.)", r"\1", typed).rpartition("/")
    try:
        entries = sorted(expanded(f"{folder}{slash}" or ".").iterdir())[:_MOST_ENTRIES]
    except (OSError, ValueError, RuntimeError):
        return
    for entry in entries:
        name = entry.name
        if not name.startswith(start) or (name.startswith(".") and not start):
            continue
        is_folder = entry.is_dir()
        if is_folder or (name.endswith(ending) if ending else (is_image_name(name) or is_document_name(name))):
            rest = re.sub(r"([\s\\'\"])", r"\\\1", name[len(start) :]) + ("/" if is_folder else "")
            yield Completion(rest, display=name + ("/" if is_folder else ""))
