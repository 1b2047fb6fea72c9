"""Chat templates: the GGUF's own Jinja, run in a sandbox, with user text kept apart from template text."""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families.control import MarkedText, text_parts
from ggufvlm.families.messages import Message
from ggufvlm.media import Image

_HINT = "--raw does without it"
_LONGEST_REFUSAL = 300


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Texts of the tokens that begin and end a sequence."""

    bos: str = ""
    eos: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStyle:
    """How images stand in a family's prompts. What libmtmd puts around an image by itself is no part of it.

    Attributes:
        word: what the family's templates print for an image; ``None`` if it is enough to show them a text instead.
        around: texts that the reference has before and after an image, in place of ``word``.
        around_plain: the same where a template knows no images, so that it does not print them either.
    """

    word: str | None = None
    around: tuple[str, str] = ("", "")
    around_plain: tuple[str, str] = ("", "")


def render(
    source: str,
    messages: Sequence[Message],
    tokens: SpecialTokens,
    *,
    image_type: str = "text",
    images: ImageStyle | None = None,
) -> list[TextPart | Image]:
    """Render a dialogue and the beginning of the answer.

    The template sees an unguessable word in the place of each text and image, so nothing a user writes can act as
    a part of the template. Templates differ in what they accept: lists of parts or plain strings, with or without a
    system role. The first form that a template renders completely and in order is taken.

    Args:
        source: Jinja source.
        messages: the dialogue.
        tokens: what ``bos_token`` and ``eos_token`` mean.
        image_type: the ``type`` of image parts; "text" keeps a template from printing its own wrapper around
            an image, which libmtmd adds.
        images: if the template prints the family's word for an image, parts are shown to it as images first,
            since it may print something else beside them than beside texts.

    Raises:
        ModelError: the template is broken, or computes indefinitely.
        UsageError: the template refuses the dialogue (for instance two user messages in a row).
    """
    compiled = _compile(source)
    style = images or ImageStyle()
    words = _Words(messages, style)
    knows_images = style.word is not None and style.word in source
    refusal = ""
    for kind, shape in product(("image", image_type) if knows_images else (image_type,), _SHAPES):
        try:
            text = compiled(shape(words.numbered, kind), tokens)
        except _Refused as error:
            refusal = refusal or str(error)
            continue
        if knows_images:
            text = words.put_for_images(text)
        if words.found_in(text) == words.all and not words.are_quoted_in(text):
            return words.split(text)
    if refusal:
        raise UsageError(f"the model's chat template refuses these messages: {refusal}")
    raise ModelError(
        "the model's chat template leaves out a part of the messages", hint="--raw sends the prompt as it is"
    )


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """The template raised."""


@dataclass(frozen=True, slots=True)
class _NumberedMessage:
    role: str
    content: tuple[tuple[str, bool], ...]  # (word, is an image)


class _Words:
    """Unguessable words that stand for the texts and images of a dialogue.

    The blanks around a text stay around its word: some templates trim texts.
    """

    def __init__(self, messages: Sequence[Message], style: ImageStyle) -> None:
        self._stem = f"ggufvlm{secrets.token_hex(12)}x"
        self._style = style
        self._items = [item for message in messages for item in message.content]
        numbers: Iterator[int] = iter(range(len(self._items)))
        self.numbered = [
            _NumberedMessage(m.role, tuple((self._word(next(numbers)), isinstance(item, Image)) for item in m.content))
            for m in messages
        ]
        self.all = list(range(len(self._items)))
        self._pattern = re.compile(f"{self._stem}(\\d+)x")

    def _word(self, number: int) -> str:
        item, stem = self._items[number], f"{self._stem}{number}x"
        if isinstance(item, Image):
            return stem.join(self._style.around_plain)
        return item[: len(item) - len(item.lstrip())] + stem + item[len(item.rstrip()) :] if item.strip() else stem

    def put_for_images(self, text: str) -> str:
        """Put the words of the images where the template printed its own for them."""
        numbers = [number for number, item in enumerate(self._items) if isinstance(item, Image)]
        word = self._style.word
        if word is None or text.count(word) != len(numbers):
            return text
        stems = iter([f"{self._stem}{number}x".join(self._style.around) for number in numbers])
        return re.sub(re.escape(word), lambda _match: next(stems), text)

    def found_in(self, text: str) -> list[int]:
        return [int(number) for number in self._pattern.findall(text)]

    def are_quoted_in(self, text: str) -> bool:
        """Whether the template printed the list of parts itself, which happens where it expects a string."""
        return re.search(rf"""['"]text['"]: ?['"](\s|\\[nrt])*{self._stem}""", text) is not None

    def split(self, text: str) -> list[TextPart | Image]:
        parts: list[TextPart | Image] = []
        for index, piece in enumerate(self._pattern.split(text)):
            if index % 2 == 0:
                parts.append(TextPart(piece, trusted=True))
                continue
            item = self._items[int(piece)]
            if isinstance(item, Image):
                parts.append(item)
            else:
                parts += text_parts(item if isinstance(item, MarkedText) else item.strip() or item)
        return [part for part in parts if not isinstance(part, TextPart) or part.text]


Shape = list[dict[str, Any]]


def _with_parts(messages: Sequence[_NumberedMessage], image_type: str) -> Shape:
    return [
        {
            "role": m.role,
            "content": [{"type": image_type if is_image else "text", "text": word} for word, is_image in m.content],
        }
        for m in messages
    ]


def _with_strings(messages: Sequence[_NumberedMessage], _image_type: str) -> Shape:
    return [{"role": m.role, "content": "".join(word for word, _ in m.content)} for m in messages]


def _system_in_user(messages: Sequence[_NumberedMessage]) -> list[_NumberedMessage]:
    """The system message put at the beginning of the first user message."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return list(messages)
    joined = _NumberedMessage("user", (*messages[0].content, *messages[1].content))
    return [joined, *messages[2:]]


def _system_first_with_parts(messages: Sequence[_NumberedMessage], image_type: str) -> Shape:
    return _with_parts(_system_in_user(messages), image_type)


def _system_first_with_strings(messages: Sequence[_NumberedMessage], image_type: str) -> Shape:
    return _with_strings(_system_in_user(messages), image_type)


_SHAPES = (_with_parts, _with_strings, _system_first_with_parts, _system_first_with_strings)


@functools.lru_cache(maxsize=16)
def _compile(source: str) -> Callable[[Shape, SpecialTokens], str]:
    from ggufvlm.families.template_bounds import BoundedEnvironment
    from ggufvlm.families.template_costs import TooMuch

    def refuse(message: object = "it says no more") -> None:
        raise _Refused(_in_a_line(message))

    environment = BoundedEnvironment({"raise_exception": refuse})
    try:
        template = environment.compiled(source)
    except Exception as error:
        raise ModelError(f"the model's chat template is broken: {_in_a_line(error)}", hint=_HINT) from error

    def rendered(messages: Shape, tokens: SpecialTokens) -> str:
        names = {
            "messages": messages,
            "bos_token": tokens.bos,
            "eos_token": tokens.eos,
            "add_generation_prompt": True,
            "tools": None,
            "enable_thinking": False,
        }
        try:
            return environment.rendered(template, names)
        except _Refused:
            raise
        except (TooMuch, RecursionError, MemoryError) as error:
            raise ModelError(f"the model's chat template has no end: {_in_a_line(error)}", hint=_HINT) from error
        except Exception as error:
            raise _Refused(_in_a_line(error)) from error

    return rendered


def _in_a_line(said: object) -> str:
    """What a template or Jinja says, as short as an error should be."""
    text = str(said)[:_LONGEST_REFUSAL] or type(said).__name__
    return "".join(character if character.isprintable() else " " for character in text)
