"""What Ollama's clients ask: ``/api/chat`` and ``/api/generate`` as :class:`.contract.ClientQuestion`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ggufvlm.config import SamplingSettings
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.errors import UsageError
from ggufvlm.server.contract import ClientQuestion, Limits, NotServed
from ggufvlm.server.durations import parse_duration
from ggufvlm.server.ollama.body import (
    flag_of,
    images_of,
    list_of,
    object_of,
    refuse,
    text_of,
    whole_number_of,
)
from ggufvlm.server.ollama.context import ContextImages, read_context
from ggufvlm.server.ollama.options import OPTIONS, settings_of
from ggufvlm.server.unread_fields import refuse_unread

_REFUSED = {"_debug_render_only": "prompts are not shown", "tools": "no model here calls tools"}
_REFUSED_IN_GENERATE = {
    **_REFUSED,
    "suffix": "no model here inserts text",
    "template": "the model's own template is used; with raw there is none",
    "width": "no model here makes images",
    "height": "no model here makes images",
    "steps": "no model here makes images",
}
_READ = {
    *("model", "stream", "format", "options", "keep_alive", "think", "logprobs", "top_logprobs"),
    *_REFUSED,
}
_READ_IN_CHAT = {*_READ, "messages"}
_READ_IN_GENERATE = {*_READ, *_REFUSED_IN_GENERATE, "prompt", "system", "images", "raw", "context"}
_READ_IN_MESSAGE = {"role", "content", "images", "tool_calls"}
_MOST_ALTERNATIVES = 20
_EFFORTS = ("high", "medium", "low", "max")


@dataclass(frozen=True, kw_only=True, slots=True)
class OllamaRequest:
    """A request that was understood.

    Attributes:
        model: as the client wrote it.
        stream: whether pieces are to be sent as they are made.
        only_loads: there is no prompt: the model is to be loaded, or with a ``keep_alive`` of 0 unloaded.
        asked: the question.
    """

    model: str
    stream: bool
    only_loads: bool
    asked: ClientQuestion

    @property
    def texts(self) -> list[str]:
        """The texts of the question, for a log."""
        parts = (part for message in self.asked.messages for part in message["content"])
        return [self.asked.raw_prompt or "", *(part["text"] for part in parts if part["type"] == "text")]

    @property
    def images(self) -> list[bytes]:
        """The image files of the question, as they stand in its prompt."""
        parts = (part for message in self.asked.messages for part in message["content"])
        said = [part["image"] for part in parts if part["type"] == "image"]
        return [item for item in self.asked.earlier if isinstance(item, bytes)] + said


def read_chat(body: Mapping[str, Any], limits: Limits) -> OllamaRequest:
    """A body of ``/api/chat``.

    Raises:
        UsageError, ImageError, NotServed: it is wrong, or asks for what is not served.
    """
    refuse(body, _REFUSED)
    refuse_unread(body, read=_READ_IN_CHAT, options=OPTIONS)  # name is known: a model's, where there is no other
    messages = [_message(message, f"messages.{place}") for place, message in enumerate(list_of(body, "messages"))]
    _check_images(sum(len(message["content"]) - 1 for message in messages), limits)
    return _request(body, only_loads=not messages, messages=messages)


def read_generate(body: Mapping[str, Any], limits: Limits, kept: ContextImages | None = None) -> OllamaRequest:
    """A body of ``/api/generate``.

    Args:
        body: the fields.
        limits: of images.
        kept: images of contexts that clients may send back.

    Raises:
        UsageError, ImageError, NotServed: as :func:`read_chat`.
    """
    refuse(body, _REFUSED_IN_GENERATE)
    refuse_unread(body, read=_READ_IN_GENERATE, options=OPTIONS)
    prompt, system, images = text_of(body, "prompt"), text_of(body, "system"), images_of(body)
    earlier = read_context(body.get("context"), kept or ContextImages(0))
    _check_images(len(images) + sum(isinstance(item, bytes) for item in earlier), limits)
    if flag_of(body, "raw", default=False):
        if system or earlier:
            raise UsageError("raw mode does not support template, system, or context")
        return _request(body, only_loads=not prompt and not images, raw_prompt=prompt, raw_images=images)
    messages = [_turn("system", system)] if system else []
    return _request(
        body,
        only_loads=not prompt and not images,
        messages=[*messages, _turn("user", prompt, images)],
        earlier=earlier,
        wants_context=True,
    )


def _request(body: Mapping[str, Any], *, only_loads: bool, **question: Any) -> OllamaRequest:
    model = text_of(body, "model") or text_of(body, "name")
    if body.get("model") is None and body.get("name") is None:
        raise UsageError("model is required")
    asked = ClientQuestion(model=model, settings=_settings(body), keep_alive=_keep_alive(body), **question)
    return OllamaRequest(model=model, stream=flag_of(body, "stream", default=True), only_loads=only_loads, asked=asked)


def _settings(body: Mapping[str, Any]) -> SamplingSettings:
    settings = settings_of(object_of(body, "options"))
    constraint = _constraint(body.get("format"))
    if constraint is not None:
        settings["constraint"] = constraint
    if (thinks := _thinks(body.get("think"))) is not None:
        settings["think"] = thinks
    n_alternatives = whole_number_of(body.get("top_logprobs") or 0, "top_logprobs")
    if not 0 <= n_alternatives <= _MOST_ALTERNATIVES:
        raise UsageError(f"top_logprobs must be between 0 and {_MOST_ALTERNATIVES}")
    if flag_of(body, "logprobs", default=False):
        settings["logprobs"] = n_alternatives
    return settings


def _thinks(given: Any) -> bool | None:
    """``think`` of a body: a flag, or how hard to think, which is yes."""
    if given is None or isinstance(given, bool):
        return given
    if given in _EFFORTS:
        return True
    raise UsageError(f"invalid think value: {str(given)[:40]!r} (must be true, false, {', '.join(_EFFORTS)})")


def _constraint(given: Any) -> Constraint | None:
    if given is None or given == "":
        return None
    if given == "json":
        return Constraint.json_object()
    if isinstance(given, dict):
        return Constraint.from_schema(given)
    raise UsageError('invalid format: expected "json" or a JSON Schema object')


def _keep_alive(body: Mapping[str, Any]) -> float | None:
    given = body.get("keep_alive")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise UsageError('"keep_alive" must be a duration such as "5m", or a number of seconds')
    try:
        return parse_duration(given)
    except OverflowError:
        raise UsageError('"keep_alive" is too large') from None


def _message(message: Any, place: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise UsageError('"messages" must hold objects with "role" and "content"')
    refuse_unread(message, place, read=_READ_IN_MESSAGE)
    role = text_of(message, "role")
    if role == "tool" or message.get("tool_calls"):
        raise NotServed("no model here calls tools", param="messages")
    if role not in ("system", "user", "assistant"):
        raise UsageError(f'"role" must be "system", "user" or "assistant", not {role[:40]!r}')
    images = images_of(message)
    if images and role != "user":
        raise UsageError(f"a message of the role {role!r} cannot hold images")
    return _turn(role, text_of(message, "content"), images)


def _turn(role: str, text: str, images: tuple[bytes, ...] = ()) -> dict[str, Any]:
    """Images come before the text, as Ollama puts them."""
    parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}


def _check_images(n_images: int, limits: Limits) -> None:
    if n_images > limits.images:
        message = f"{n_images} images are more than this server takes in one request: {limits.images}"
        raise UsageError(message, hint="ggufvlm serve --max-images takes more")
