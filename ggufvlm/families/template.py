"""Chat templates: the GGUF's own Jinja, run in a sandbox, with user text kept apart from template text."""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    told: Mapping[str, Any] | None = None,
) -> list[TextPart | Image]:
    """Render a dialogue and the beginning of the answer.

    The template sees an unguessable word in the place of each text and image, so nothing a user writes can act as
    a part of the template. Templates differ in what they accept: lists of parts or plain strings, with or without a
    system role, messages of one role in a row or not. The first form that a template renders completely and in order
    is taken; a dialogue as it was sent comes before one whose messages are joined.

    Args:
        source: Jinja source.
        messages: the dialogue.
        tokens: what ``bos_token`` and ``eos_token`` mean.
        image_type: the ``type`` of image parts; "text" keeps a template from printing its own wrapper around
            an image, which libmtmd adds.
        images: if the template prints the family's word for an image, parts are shown to it as images first,
            since it may print something else beside them than beside texts.
        told: further variables of the template.

    Raises:
        ModelError: the template is broken, computes indefinitely, or leaves out even a single question.
        UsageError: the template has no form for the dialogue (for instance an answer before the first question).
    """
    compiled = _compile(source)
    style = images or ImageStyle()
    words = _Words(messages, style)
    knows_images = style.word is not None and style.word in source
    refusal = ""
    kinds = ("image", image_type) if knows_images else (image_type,)
    for dialogue, kind, shape in product(_as_sent_or_joined(words.numbered), kinds, _SHAPES):
        try:
            text = compiled(shape(dialogue, kind), tokens, told or {})
        except _Refused as error:
            refusal = refusal or str(error)
            continue
        if knows_images:
            text = words.put_for_images(text)
        if words.are_found_in(text) and not words.are_quoted_in(text):
            return words.split(text)
    if refusal:
        raise UsageError(f"the model's chat template refuses these messages: {refusal}")
    what, hint = "the model's chat template leaves out a part of these messages", "--raw sends them as they are"
    is_simple = [message.role for message in messages] == ["user"]
    raise ModelError(what, hint=hint) if is_simple else UsageError(what, hint=hint)


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
        self._is_system = [message.role == "system" for message in messages for _ in message.content]
        numbers: Iterator[int] = iter(range(len(self._items)))
        self.numbered = [
            _NumberedMessage(m.role, tuple((self._word(next(numbers)), isinstance(item, Image)) for item in m.content))
            for m in messages
        ]
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

    def are_found_in(self, text: str) -> bool:
        """Whether each word is there once; in their order, but for system messages that were put before the others."""
        found = [int(number) for number in self._pattern.findall(text)]
        numbers = list(range(len(self._items)))
        return found == numbers or found == sorted(numbers, key=lambda number: not self._is_system[number])

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
            # some templates look at the first part of a message without asking whether there is one
            "content": [
                {"type": image_type if is_image else "text", "text": word}
                for word, is_image in m.content or (("", False),)
            ],
        }
        for m in messages
    ]


def _with_strings(messages: Sequence[_NumberedMessage], _image_type: str) -> Shape:
    return [{"role": m.role, "content": "".join(word for word, _ in m.content)} for m in messages]


_SHAPES = (_with_parts, _with_strings)


def _as_sent_or_joined(messages: Sequence[_NumberedMessage]) -> list[list[_NumberedMessage]]:
    """The dialogue as it was sent, then forms of it for templates that refuse it or leave something out."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    forms = [list(messages), _joined([*system, *others])]
    if system:  # for templates that know no system role, or not without a question
        as_user = _NumberedMessage("user", forms[1][0].content)
        forms.append([*_joined([as_user, *others[:1]]), *others[1:]])
        forms.append(_joined(forms[-1]))
    return [form for place, form in enumerate(forms) if form not in forms[:place]]


def _joined(messages: Sequence[_NumberedMessage]) -> list[_NumberedMessage]:
    """Messages of one role in a row as one, as ``collate`` of Ollama's ``template/template.go`` does it.

    Texts that meet are set apart by an empty line; clients send a text and its image in two messages.
    """
    joined: list[_NumberedMessage] = []
    for message in messages:
        if not joined or joined[-1].role != message.role:
            joined.append(message)
            continue
        before, after = joined[-1].content, message.content
        if before and after and not before[-1][1] and not after[0][1]:
            text = f"{before[-1][0]}\n\n{after[0][0]}"  # one text, since templates trim texts
            before, after = before[:-1], ((text, False), *after[1:])
        joined[-1] = _NumberedMessage(message.role, (*before, *after))
    return joined


@functools.lru_cache(maxsize=16)
def variables(source: str) -> frozenset[str]:
    """Names that a template looks up and does not set itself.

    Raises:
        ModelError: the template is broken.
    """
    from jinja2 import meta

    from ggufvlm.families.template_bounds import BoundedEnvironment

    with _told_if_broken():
        return frozenset(meta.find_undeclared_variables(BoundedEnvironment({}).parsed(source)))


@contextmanager
def _told_if_broken() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ModelError(f"the model's chat template is broken: {_in_a_line(error)}", hint=_HINT) from error


@functools.lru_cache(maxsize=16)
def _compile(source: str) -> Callable[[Shape, SpecialTokens, Mapping[str, Any]], str]:
    from ggufvlm.families.template_bounds import BoundedEnvironment
    from ggufvlm.families.template_costs import TooMuch

    def refuse(message: object = "it says no more") -> None:
        raise _Refused(_in_a_line(message))

    environment = BoundedEnvironment({"raise_exception": refuse})
    with _told_if_broken():
        template = environment.compiled(source)

    def rendered(messages: Shape, tokens: SpecialTokens, told: Mapping[str, Any]) -> str:
        names = {
            "messages": messages,
            "bos_token": tokens.bos,
            "eos_token": tokens.eos,
            "add_generation_prompt": True,
            "tools": None,
            **told,
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
