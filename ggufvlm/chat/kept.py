"""Conversations that were had, in the user's state folder: which images they are about, but no copies of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.chat.file import read_state
from ggufvlm.errors import GGUFVLMError, UsageError
from ggufvlm.files import personal_folder

if TYPE_CHECKING:
    from ggufvlm.chat.chat import Chat

NO_HISTORY = "GGUFVLM_NOHISTORY"
"""Set to anything, nothing of what is said is kept."""
MAX_KEPT = 100
_SCRIPT = "-script"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptConversation:
    """A conversation, as a list shows it.

    Attributes:
        path: its file; the name begins with the time at which it began.
        model: which one answered.
        n_turns: questions with their answers.
        first: the first question.
    """

    path: Path
    model: str
    n_turns: int
    first: str


class Keeper:
    """Keeps one conversation, anew after each of its answers. Those of scripts go before those of people.

    Args:
        path: of a conversation that goes on; by default it is a new one.
        is_script: whether nobody types.
    """

    def __init__(self, path: Path | None = None, *, is_script: bool = False) -> None:
        self._path = path
        self._ending = _SCRIPT if is_script else ""

    def keep(self, chat: Chat) -> None:
        """Write the conversation as it is now, and let the oldest ones go.

        Raises:
            UsageError: it cannot be written.
        """
        if os.environ.get(NO_HISTORY):
            return
        if self._path is None:
            began = time.strftime("%Y%m%d-%H%M%S")
            self._path = _made_folder() / f"{began}-{secrets.token_hex(2)}{self._ending}.json"
        chat.keep(self._path)
        for old in _by_worth()[MAX_KEPT:]:
            old.unlink(missing_ok=True)

    def begin_anew(self) -> None:
        """What is said from now on is another conversation."""
        self._path = None


def kept_folder() -> Path:
    """Where conversations are kept."""
    return personal_folder("state") / "chats"


def kept_conversations() -> Iterator[KeptConversation]:
    """The newest first; files that are none are passed over."""
    for path in _newest_first():
        try:
            state = read_state(path)
            questions = [message for message in state["messages"] if message["role"] == "user"]
            first = _text(questions[0]) if questions else ""
        except (GGUFVLMError, LookupError, TypeError):
            continue
        yield KeptConversation(path=path, model=str(state.get("model", "")), n_turns=len(questions), first=first)


def find_kept(name: str | None = None) -> Path:
    """The file of a conversation.

    Args:
        name: as a list shows it; the newest by default.

    Raises:
        UsageError: none is kept.
    """
    for path in _newest_first():
        if name in (None, path.stem):
            return path
    raise UsageError(f"no conversation {name} is kept" if name else "no conversation is kept yet")


def _text(message: dict[str, Any]) -> str:
    return "".join(str(entry["text"]) for entry in message["content"] if entry["type"] == "text")


def _made_folder() -> Path:
    folder = kept_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror or error})") from error
    return folder


def _newest_first() -> list[Path]:
    try:
        found = [(entry.stat().st_mtime_ns, Path(entry.path)) for entry in os.scandir(kept_folder())]
    except OSError:
        return []
    return [path for _, path in sorted(found, reverse=True) if path.suffix == ".json"]


def _by_worth() -> list[Path]:
    return sorted(_newest_first(), key=lambda path: path.stem.endswith(_SCRIPT))
