"""Commands of a chat that write and read files."""

from __future__ import annotations

from pathlib import Path

from ggufvlm.cli.chat.session import ChatSession, counted
from ggufvlm.cli.chat.words import words
from ggufvlm.errors import UsageError
from ggufvlm.files import expanded
from ggufvlm.media import Image

MARK = "<!-- a dialogue written by ggufvlm chat -->"


def save(session: ChatSession, rest: str) -> None:
    """``/save FILE``

    Raises:
        UsageError: no name, another file is there, or it cannot be written.
    """
    path = _path(rest, "/save chat.json")
    written = session.chat.save(path)
    copies = f" and {counted(len(written), 'image')} beside it" if written else ""
    session.tell(f"saved {counted(len(session.chat.turns), 'turn')} to {path}{copies}")


def load(session: ChatSession, rest: str) -> None:
    """``/load FILE``

    Raises:
        UsageError: no name.
        InputError: it is no saved dialogue.
    """
    go_on_with(session, _path(rest, "/load chat.json"))
    session.keeper.begin_anew()


def go_on_with(session: ChatSession, path: Path) -> None:
    """Let a saved dialogue go on here.

    Raises:
        InputError: it is no saved dialogue.
    """
    from ggufvlm.chat.chat import Chat
    from ggufvlm.chat.file import saved_model

    model, here = saved_model(path), session.chat.vlm.files.name
    session.chat = Chat.load(path, session.chat.vlm)
    session.changed()
    chat = session.chat
    session.tell(f"loaded {counted(len(chat.turns), 'turn')} with {counted(len(chat.images), 'image')} from {path}")
    if model != here:
        session.tell(f"note: {model} answered there, {here} answers here; /model {model} switches")
    for number, missing in chat.missing.items():
        session.show(f"image {number} is missing: {missing.reason}")
    if chat.missing:
        session.show("/replace N PATH puts one in its place, /drop N leaves it out")


def export(session: ChatSession, rest: str) -> None:
    """``/export FILE.md``

    Raises:
        UsageError: no name, another file is there, or it cannot be written.
    """
    from ggufvlm.chat.file import write

    path = _path(rest, "/export chat.md")
    if path.exists() and not _is_ours(path):
        raise UsageError(f"{path} is there already and is no exported dialogue", hint="choose another name")
    copies: set[Path] = set()
    write(path, _markdown(session, path, copies))
    session.tell(f"exported {counted(len(session.chat.turns), 'turn')} and {counted(len(copies), 'image')} to {path}")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False


def _markdown(session: ChatSession, path: Path, copies: set[Path]) -> str:
    from ggufvlm.chat.file import copy_beside

    chat = session.chat
    blocks = [MARK, f"Model: {chat.vlm.files.name}"]
    if chat.system:
        blocks.append(f"System: {chat.system}")
    for turn in chat.turns:
        for image in turn.images:
            name = Path(image.source).name.replace("[", "(").replace("]", ")")
            if isinstance(image, Image):
                copies.add(copy := copy_beside(image, path.absolute()))
                blocks.append(f"![{name}](<{copy.name}>)")
            else:
                blocks.append(f"*missing: {name}*")
        blocks.append("\n".join(f"> {line}".rstrip() for line in turn.text.split("\n")))
        blocks.append(turn.answer + (" *(stopped)*" if turn.finish_reason == "abort" else ""))
    return "\n\n".join(blocks) + "\n"


def _path(rest: str, example: str) -> Path:
    found = list(words(rest))
    if not found:
        raise UsageError("which file?", hint=example)
    return expanded(found[0].meaning if len(found) == 1 else rest.strip())
