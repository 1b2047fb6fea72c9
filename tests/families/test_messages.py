from __future__ import annotations

from typing import Any

import pytest

from ggufvlm.errors import UsageError
from ggufvlm.families.messages import Message, read_messages
from ggufvlm.media import Image


def load(source: Any) -> Image:
    return Image.from_rgb(1, 1, b"\0\0\0", str(source))


def read(*content: Any, images: tuple[Any, ...] = ()) -> list[str]:
    (message,) = read_messages([{"role": "user", "content": list(content)}], load, images)
    return [item.source if isinstance(item, Image) else f"text:{item}" for item in message.content]


def test_the_hub_s_ways_to_name_an_image() -> None:
    assert read(
        {"type": "image", "image": "a.png"},
        {"type": "image", "url": "http://x/b.png"},
        {"type": "text", "text": "hello"},
        {"type": "image", "path": "c.png"},
    ) == ["a.png", "http://x/b.png", "text:hello", "c.png"]


def test_openai_s_way() -> None:
    assert read({"type": "image_url", "image_url": {"url": "data:x"}}) == ["data:x"]


def test_images_given_apart_fill_the_places_in_order() -> None:
    assert read({"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}, images=("a", "b")) == [
        "a",
        "text:and",
        "b",
    ]


def test_content_may_be_a_string() -> None:
    assert read_messages([{"role": "user", "content": "hi"}], load) == [Message("user", ("hi",))]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "no message"),
        ([{"content": "a"}], "role and a content"),
        ([{"role": "critic", "content": "a"}], "'critic'"),
        ([{"role": "user", "content": [{"type": "video", "video": "a"}]}], "'video'"),
        ([{"role": "user", "content": [{"type": "image"}]}], "names no image"),
        ([{"role": "user", "content": 5}], "text or a list"),
        ([{"role": "assistant", "content": [{"type": "image", "image": "a"}]}], "assistant message cannot"),
    ],
)
def test_what_is_wrong_is_said(messages: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_messages(messages, load)


def test_an_image_too_many_is_said() -> None:
    with pytest.raises(UsageError, match="1 more image"):
        read_messages([{"role": "user", "content": [{"type": "image"}]}], load, ["a", "b"])


def test_a_dialogue_of_more_messages_than_anybody_writes_is_refused() -> None:
    empty = {"role": "user", "content": ""}
    assert len(read_messages([empty] * 4096, load)) == 4096
    with pytest.raises(UsageError, match="50000 messages; at most 4096"):
        read_messages([empty] * 50_000, load)
    with pytest.raises(UsageError, match="50000 texts and images"):
        read_messages([{"role": "user", "content": [{"type": "text", "text": ""}] * 50_000}], load)
