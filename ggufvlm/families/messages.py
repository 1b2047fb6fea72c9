"""A dialogue: roles, texts and images. Reads the Hub's chat format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggufvlm.errors import UsageError
from ggufvlm.media import Image

ROLES = ("system", "user", "assistant", "tool")
Load = Callable[[Any], Image]
MAX_MESSAGES, MAX_ITEMS = 4096, 16384
"""Of a dialogue, and texts and images of all its messages. Templates and tokenizers take time for empty ones too."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Attributes:
        role: whose it is.
        content: texts and images in the order in which they were given.
        reasoning: what the assistant thought before its answer; the template decides whether it is shown.
        tool_calls: of the assistant, as Transformers has them:
            ``{"type": "function", "id": ..., "function": {"name": ..., "arguments": {...}}}``.
        tool_call_id, name: of a tool's result: the call that it answers, and the tool.
    """

    role: str
    content: tuple[str | Image, ...]
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.role, str) or self.role not in ROLES:
            raise UsageError(f"a message has the role {self.role!r}; it must be one of {', '.join(ROLES)}")
        if self.role not in ("user", "tool") and any(isinstance(item, Image) for item in self.content):
            raise UsageError(f"a {self.role} message cannot hold an image")

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(item for item in self.content if isinstance(item, Image))

    @property
    def text(self) -> str:
        return "".join(item for item in self.content if isinstance(item, str))


def read_messages(messages: Iterable[Mapping[str, Any]], load: Load, images: Sequence[Any] = ()) -> list[Message]:
    """Messages in the Hub's chat format.

    ``content`` is a text, or a list of ``{"type": "text", "text": ...}`` and ``{"type": "image", ...}`` with the
    image under ``image``, ``url`` or ``path``; an image without one takes the next of ``images``. OpenAI's
    ``{"type": "image_url", "image_url": {"url": ...}}`` is read too.

    Args:
        messages: the dialogue.
        load: turns a path, URL, ... into an image.
        images: images for image entries that name none.

    Raises:
        UsageError: an entry that is not of this form, too many of them, or images left over.
        ImageError: from ``load``.
    """
    messages = list(messages)
    if len(messages) > MAX_MESSAGES:
        raise UsageError(f"a dialogue of {len(messages)} messages; at most {MAX_MESSAGES} are taken")
    spare = iter(images)
    dialogue = [_read_message(message, load, spare) for message in messages]
    if not dialogue:
        raise UsageError("there is no message")
    n_items = sum(len(message.content) for message in dialogue)
    if n_items > MAX_ITEMS:
        raise UsageError(f"the messages hold {n_items} texts and images; at most {MAX_ITEMS} are taken")
    left = len(list(spare))
    if left:
        raise UsageError(f"{left} more image(s) given than the messages have places for")
    return dialogue


def _read_message(message: Mapping[str, Any], load: Load, spare: Iterator[Any]) -> Message:
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise UsageError("a message needs a role and a content")
    role, content, reasoning = message["role"], message["content"], message.get("reasoning_content")
    if not isinstance(reasoning or "", str):
        raise UsageError("a message's reasoning_content must be a text")
    if isinstance(content, str):
        return Message(role, (content,), reasoning or "")
    if not isinstance(content, (list, tuple)):
        raise UsageError("a message's content must be a text or a list")
    return Message(role, tuple(_read_item(item, load, spare) for item in content), reasoning or "")


def _read_item(item: Any, load: Load, spare: Iterator[Any]) -> str | Image:
    if isinstance(item, str):
        return item
    kind = item.get("type") if isinstance(item, Mapping) else None
    if kind == "text" and isinstance(item.get("text"), str):
        return str(item["text"])
    if kind == "image":
        source = next((item[key] for key in ("image", "url", "path") if item.get(key) is not None), None)
        if source is None:
            source = next(spare, None)
        if source is None:
            raise UsageError("an image entry names no image: give it an image, a url or a path")
        return load(source)
    if kind == "image_url":
        url = item.get("image_url")
        return load(url["url"] if isinstance(url, Mapping) and "url" in url else url)
    raise UsageError(f"a message's content has an entry of type {kind!r}; text and image are understood")
