"""A dialogue as a template sees it: in one of the forms that templates take, with all its texts hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggufvlm.engine.request import TextPart
from ggufvlm.families.completeness import Said, is_complete
from ggufvlm.families.control import ControlText, MarkedText
from ggufvlm.families.hidden_text import HIDDEN, Alphabet, MessagePart, joined
from ggufvlm.families.messages import Message
from ggufvlm.media import Image

Shape = list[dict[str, Any]]


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


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message of whose content each text, hidden, is told from what stands for an image."""

    role: str
    content: tuple[tuple[str, bool], ...]  # (text, is an image)
    rest: Mapping[str, Any]


class ShownDialogue:
    """A dialogue that is hidden in an alphabet of its own, and is found again in what a template prints."""

    def __init__(self, messages: Sequence[Message], style: ImageStyle) -> None:
        self._style = style
        self._images = [image for message in messages for image in message.images]
        self.alphabet = Alphabet(len(self._images))
        numbers: Iterator[int] = iter(range(len(self._images)))
        self.messages = [self._shown(message, numbers) for message in messages]
        self._said = [
            Said(role=m.role, text="".join(text for text, _ in m.content), n_others=_most_printed(m.rest))
            for m in self.messages
        ]
        self._n_others = 0
        self.n_characters = sum(len(said.text) + said.n_others for said in self._said)

    def _shown(self, message: Message, numbers: Iterator[int]) -> ShownMessage:
        content: list[tuple[str, bool]] = []
        for item in message.content:
            if isinstance(item, Image):
                around = self._style.around_plain
                content.append((joined([around[0], self.alphabet.image(next(numbers)), around[1]]), True))
            elif isinstance(item, MarkedText):
                parts = (part if isinstance(part, ControlText) else self.alphabet.hide(part) for part in item.parts)
                content.append((joined(list(parts)), False))
            else:
                content.append((self.alphabet.hide(item), False))
        named = {"tool_calls": list(message.tool_calls), "tool_call_id": message.tool_call_id, "name": message.name}
        thought = {"thinking": message.reasoning, "reasoning_content": message.reasoning}  # Transformers has both
        rest = {key: self.alphabet.hide_all(value) for key, value in {**thought, **named}.items() if value}
        return ShownMessage(message.role, tuple(content), rest)

    def told(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Variables of the template, hidden too: clients may choose them."""
        hidden = {name: self.alphabet.hide_all(value) for name, value in names.items()}
        self._n_others = sum(map(_most_printed, hidden.values()))
        self.n_characters += self._n_others
        return hidden

    def put_for_images(self, text: str) -> str:
        """What a template printed, with what stands for the images where it printed its own word for them."""
        word, numbers = self._style.word, iter(range(len(self._images)))
        if word is None or text.count(word) != len(self._images):
            return text
        before, after = self._style.around
        return re.sub(re.escape(word), lambda _match: f"{before}{self.alphabet.image(next(numbers))}{after}", text)

    def is_complete(self, text: str) -> bool:
        """Whether a template printed all of it, in order."""
        return is_complete(text, self._said, self.alphabet, self._n_others)

    def ends_with_last(self, text: str) -> bool:
        """Whether the last message is the last that a template printed of all it was given."""
        return "".join(HIDDEN.findall(text)).endswith("".join(HIDDEN.findall(self._said[-1].text)))

    def up_to_last(self, text: str) -> str:
        """What a template printed up to the end of the last message, with the blanks there."""
        end = max((match.end() for match in HIDDEN.finditer(text)), default=0)
        said = self._said[-1].text
        return text[:end] + said[len(said.rstrip()) :]

    def split(self, text: str) -> list[TextPart | Image]:
        """What a template printed, as parts of a prompt: its own words are trusted, and nobody else's."""
        parts: list[TextPart | Image] = []
        place = 0
        for match in self.alphabet.pattern.finditer(text):
            parts.append(TextPart(text[place : match.start()], trusted=True))
            number = self.alphabet.number_of_image(match[0])
            parts.append(TextPart(self.alphabet.read(match[0])) if number is None else self._images[number])
            place = match.end()
        parts.append(TextPart(text[place:], trusted=True))
        return [part for part in parts if not isinstance(part, TextPart) or part.text]


_TIMES_PRINTED, _AROUND_A_TEXT = 4, 8


def _most_printed(value: Any) -> int:
    """How many characters a template may print of a value as JSON has them."""
    if isinstance(value, str):
        return _TIMES_PRINTED * (len(value) + _AROUND_A_TEXT)
    if isinstance(value, Mapping):
        return sum(_most_printed(key) + _most_printed(item) for key, item in value.items())
    return sum(map(_most_printed, value)) if isinstance(value, (list, tuple)) else 0


def _with_parts(messages: Sequence[ShownMessage], image_type: str, prints_word: bool) -> Shape:
    return [_message(m, _parts(m, image_type, prints_word)) for m in messages]


def _with_parts_beside_images(messages: Sequence[ShownMessage], image_type: str, prints_word: bool) -> Shape:
    has_image = [any(is_image for _, is_image in m.content) for m in messages]
    return [
        _message(m, _parts(m, image_type, prints_word) if has else _string(m))
        for m, has in zip(messages, has_image, strict=True)
    ]


def _with_strings(messages: Sequence[ShownMessage], _image_type: str, _prints_word: bool) -> Shape:
    return [_message(m, _string(m)) for m in messages]


def _message(message: ShownMessage, content: Any) -> dict[str, Any]:
    return {"role": message.role, "content": content, **message.rest}


def _parts(message: ShownMessage, image_type: str, prints_word: bool) -> Any:
    return [
        MessagePart({"type": "image"})
        if is_image and prints_word
        else MessagePart({"type": image_type if is_image else "text", "text": text})
        # some templates look at the first part of a message without asking whether there is one
        for text, is_image in message.content or ((("", False),) if not message.rest else ())
    ] or ""


def _string(message: ShownMessage) -> str:
    return joined([text for text, _ in message.content])


SHAPES = (_with_parts, _with_parts_beside_images, _with_strings)


def as_sent_or_joined(messages: Sequence[ShownMessage]) -> list[list[ShownMessage]]:
    """The dialogue as it was sent, then forms of it for templates that refuse it or leave something out."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    forms = [list(messages), _joined([*system, *others])]
    if system:  # for templates that know no system role, or not without a question
        as_user = ShownMessage("user", forms[1][0].content, {})
        forms.append([*_joined([as_user, *others[:1]]), *others[1:]])
        forms.append(_joined(forms[-1]))
    return [form for place, form in enumerate(forms) if form not in forms[:place]]


def _joined(messages: Sequence[ShownMessage]) -> list[ShownMessage]:
    """Messages of one role in a row as one, as ``collate`` of Ollama's ``template/template.go`` does it.

    Texts that meet are set apart by an empty line; clients send a text and its image in two messages.
    """
    kept: list[ShownMessage] = []
    for message in messages:
        if not kept or kept[-1].role != message.role or message.rest or kept[-1].rest:
            kept.append(message)
            continue
        before, after = kept[-1].content, message.content
        if before and after and not before[-1][1] and not after[0][1]:
            text = joined([before[-1][0], "\n\n", after[0][0]])  # one text, since templates trim texts
            before, after = before[:-1], ((text, False), *after[1:])
        kept[-1] = ShownMessage(message.role, (*before, *after), {})
    return kept
