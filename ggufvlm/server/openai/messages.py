"""OpenAI's messages -> the Hub's chat format, with the images' bytes. No text of a client ever names a file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from ggufvlm.errors import ImageError
from ggufvlm.media.sources.data_uri import read_data_uri
from ggufvlm.server.contract import Limits, NotServed
from ggufvlm.server.fetch.remote import RemoteRules, fetch_image
from ggufvlm.server.openai.request import ChatMessage
from ggufvlm.server.unread_fields import refuse_unread

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_DETAILS = ("low", "high", "auto", "original")
_URLS = ("http://", "https://")


async def read_dialogue(messages: Sequence[ChatMessage], rules: RemoteRules, limits: Limits) -> list[dict[str, Any]]:
    """A client's dialogue.

    Args:
        messages: as the client sent them.
        rules: of URLs.
        limits: of images.

    Raises:
        NotServed: a role or a part that is not served; too many images; an image that is no data URI.
        ImageError: a data URI is damaged, or a URL cannot be fetched.
    """
    n_images = sum(_is_image(part) for message in messages for part in _parts(message))
    if n_images > limits.images:
        hint = "ggufvlm serve --max-images takes more"
        raise NotServed(f"{n_images} images, and this server takes {limits.images}", param="messages", hint=hint)
    return [await _read_message(message, f"messages.{place}", rules) for place, message in enumerate(messages)]


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    return message.content if isinstance(message.content, list) else []


def _is_image(part: dict[str, Any]) -> bool:
    return part.get("type") == "image_url"


async def _read_message(message: ChatMessage, where: str, rules: RemoteRules) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        raise NotServed(f"no messages of the role {message.role[:40]!r} here", param=f"{where}.role")
    if message.content is None:
        raise NotServed("a message needs content", param=f"{where}.content")
    thought = {"reasoning_content": message.reasoning_content} if message.reasoning_content else {}
    if isinstance(message.content, str):
        return {"role": role, "content": message.content, **thought}
    parts = []
    for place, part in enumerate(message.content):
        inside = f"{where}.content.{place}"
        if _is_image(part) and role != "user":
            raise NotServed("only messages of the user can hold images", param=inside)
        parts.append(await _read_part(part, inside, rules))
    return {"role": role, "content": parts, **thought}


async def _read_part(part: dict[str, Any], where: str, rules: RemoteRules) -> dict[str, Any]:
    kind = str(part.get("type"))
    refuse_unread(part, where, read=("type", kind))
    if _is_image(part):
        return await _read_image(part.get("image_url"), f"{where}.image_url", rules)
    if kind in ("text", "refusal"):
        text = part.get(kind)
        if isinstance(text, str):
            return {"type": "text", "text": text}
        raise NotServed("a part of type text needs a text", param=f"{where}.text")
    raise NotServed(f"no parts of type {kind[:40]!r} here: text and image_url", param=f"{where}.type")


async def _read_image(value: Any, where: str, rules: RemoteRules) -> dict[str, Any]:
    if isinstance(value, str):
        value = {"url": value}
    if isinstance(value, dict):
        refuse_unread(value, where, read=("url", "detail", "format"))
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        raise NotServed("image_url needs a url", param=where)
    detail = value.get("detail") or "auto"
    if detail not in _DETAILS:
        raise NotServed(f"detail is one of {', '.join(_DETAILS)}", param=f"{where}.detail")
    return {"type": "image", "image": await _read_url(url, f"{where}.url", rules), "detail": detail}


async def _read_url(url: str, where: str, rules: RemoteRules) -> bytes:
    """The bytes that a URL holds, or leads to by leave of the server's owner."""
    if url[:5].lower() == "data:":
        return _decode(url)
    if not url.lower().startswith(_URLS):
        raise NotServed("an image comes as a data URI: data:image/png;base64,...", param=where)
    if not rules.allowed:
        hint = "ggufvlm serve --allow-urls fetches them"
        raise NotServed("this server fetches no URLs: send the image as a data URI", param=where, hint=hint)
    return await fetch_image(url, rules)


def _decode(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if comma and head.lower().endswith(";base64"):
        try:
            return base64.b64decode(body, validate=True)  # nearly all are so, and this makes no copies
        except (binascii.Error, ValueError):
            pass  # escapes or line breaks, or damage, which is told below
    data, _ = read_data_uri(uri)
    if not data:
        raise ImageError("data:…: there is nothing in it")
    return data
