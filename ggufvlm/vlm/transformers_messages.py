"""The messages of Transformers' pipeline: images put into their places, answers put behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from ggufvlm.errors import UsageError
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.sources.fetch import DEFAULT_LIMITS, fetch
from ggufvlm.media.sources.labels import url_label

Dialogue: TypeAlias = "Sequence[Mapping[str, Any]]"


def is_dialogue(value: Any) -> bool:
    """Whether it is a list of messages."""
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Mapping)


def read_dialogue(text: Any, images: list[Any]) -> Dialogue:
    """Messages in which each image entry names its image.

    Args:
        text: messages, or a question.
        images: for the entries that name none; a question has them in front.

    Raises:
        UsageError: neither, or more images than places.
    """
    if isinstance(text, str):
        content = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": text}]
        return [{"role": "user", "content": content}]
    if not is_dialogue(text):
        raise UsageError("the pipeline takes messages, or a text and images")
    spare = iter(images)
    dialogue = [_filled(message, spare) for message in text]
    left = len(list(spare))
    if left:
        raise UsageError(f"{left} more image(s) given than the messages have places for")
    return dialogue


def _filled(message: Mapping[str, Any], spare: Iterator[Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return message
    return {**message, "content": [_with_image(item, spare) for item in content]}


def _with_image(item: Any, spare: Iterator[Any]) -> Any:
    if not isinstance(item, Mapping) or item.get("type") != "image" or _source(item) is not None:
        return item
    image = next(spare, None)
    return item if image is None else {**item, "image": image}


def _source(item: Mapping[str, Any]) -> Any:
    return next((item[key] for key in ("image", "url", "path") if item.get(key) is not None), None)


def with_downloads(dialogue: Dialogue, timeout: float) -> Dialogue:
    """The dialogue with images in place of their URLs.

    Args:
        dialogue: the messages.
        timeout: seconds that the download of one image may take.

    Raises:
        ImageError: one takes longer, or cannot be read.
    """
    limits = replace(DEFAULT_LIMITS, connect_s=timeout, read_s=timeout, total_s=timeout)

    def fetched(item: Any) -> Any:
        source = _source(item) if isinstance(item, Mapping) and item.get("type") == "image" else None
        if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
            return item
        return {"type": "image", "image": decode(fetch(source, limits=limits), url_label(source))}

    return [
        {**message, "content": [fetched(item) for item in message["content"]]}
        if isinstance(message.get("content"), (list, tuple))
        else message
        for message in dialogue
    ]


def continues_last(dialogue: Dialogue, wanted: bool | None) -> bool:
    """Whether the answer continues the last message.

    Args:
        dialogue: the messages.
        wanted: what the caller says; without a word it does if that is the assistant's.

    Raises:
        UsageError: it is to, and that is not the assistant's.
    """
    is_answer = dialogue[-1].get("role") == "assistant"
    if wanted and not is_answer:
        raise UsageError("continue_final_message: the last message is no answer that could be continued")
    return is_answer and wanted is not False


def with_answer(dialogue: Dialogue, new: str, *, continues: bool) -> list[Mapping[str, Any]]:
    """The dialogue with its answer.

    Args:
        dialogue: the messages.
        new: the answer.
        continues: whether it is the rest of the last message.
    """
    if not continues:
        return [*dialogue, {"role": "assistant", "content": new}]
    last = dialogue[-1]
    content = last["content"]
    grown = (
        content + new
        if isinstance(content, str)
        else [*content[:-1], {**content[-1], "text": content[-1]["text"] + new}]
    )
    return [*dialogue[:-1], {**last, "content": grown}]
