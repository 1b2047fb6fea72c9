"""From what people pass to :class:`~ggufvlm.VLM` to a request that its engine takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from ggufvlm.config import SamplingParams
from ggufvlm.engine.request import ImagePart, OriginalImage, Part, Request, TextPart, TokensPart
from ggufvlm.engine.thoughts import ThoughtMarks
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families import ChatHandler, Message, PlainHandler, read_messages
from ggufvlm.families.behind_answer import rendered_behind_answer
from ggufvlm.media import Image, ImageSource, load, prepare
from ggufvlm.media.pixels.prepare import planned_id
from ggufvlm.media.sources.arguments import ArgumentKind, classify
from ggufvlm.media.sources.patterns import images_in
from ggufvlm.vlm.examples import Example, with_examples

Messages: TypeAlias = "Iterable[Mapping[str, Any] | Message]"
"""A dialogue: in the Hub's chat format, or as our own messages."""

Images: TypeAlias = "ImageSource | Sequence[ImageSource] | Iterator[ImageSource]"
"""One image, or a list or tuple of them, or what makes them."""


def as_list(images: Images) -> list[ImageSource]:
    """One image or several, as a list; also those that a generator makes, and those in a folder or of a pattern.

    Raises:
        ImageError: a folder without images.
    """
    is_several = isinstance(images, (list, tuple)) or (isinstance(images, Iterator) and not hasattr(images, "read"))
    given = list(cast("Iterable[ImageSource]", images)) if is_several else [cast("ImageSource", images)]
    return [source for item in given for source in _expanded(item)]


def _expanded(item: ImageSource) -> list[ImageSource]:
    if not isinstance(item, (str, os.PathLike)):
        return [item]
    name = os.fspath(item)
    return list(images_in(name)) if classify(name) is ArgumentKind.PATTERN else [item]


def image_ids(request: Request) -> frozenset[str]:
    """Identities of the images in a request."""
    return frozenset(part.id for part in request.parts if isinstance(part, ImagePart))


def read_dialogue(messages: Messages, images: Sequence[ImageSource]) -> list[Message]:
    """Messages in either form; ``images`` are for the entries that name none.

    Raises:
        UsageError: a mixture of both forms, or messages that make no sense.
        ImageError: an image cannot be read.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise UsageError(f"messages must be a list of messages, not {type(messages).__name__}")
    given = list(messages)
    ready = [message for message in given if isinstance(message, Message)]
    if not ready:
        return read_messages([m for m in given if not isinstance(m, Message)], load, images)
    if len(ready) != len(given) or images:
        raise UsageError("messages must be all of one kind")
    return ready


def question_about(images: Images, prompt: str, system: str | None) -> list[Message]:
    """As :func:`question`, for images that are not read yet.

    Args:
        images: one, or a list or tuple of them.
        prompt: the question.
        system: a system message, if there is to be one.

    Raises:
        ImageError: one cannot be read.
        UsageError: there is none, or prompt or system message is no text.
    """
    sources = as_list(images)
    if not sources:
        raise UsageError("there is no image to ask about", hint="VLM.stream([...]) asks without one")
    return question([load(source) for source in sources], prompt, system)


def question(images: Sequence[Image], prompt: str, system: str | None = None) -> list[Message]:
    """The dialogue of one question: images first, in order, then the prompt.

    Args:
        images: those that the question is about.
        prompt: its text.
        system: a system message, if there is to be one.

    Raises:
        UsageError: prompt or system message is no text.
    """
    require_text("prompt", prompt)
    require_text("system", system or "")
    messages = [Message("user", (*images, prompt))]
    return [Message("system", (system,)), *messages] if system else messages


def closed(thoughts: ThoughtMarks | None) -> list[TextPart]:
    """What stands between a prompt and the text of an answer: the end of a thought that the prompt leaves open."""
    if thoughts is None or not thoughts.is_open:
        return []
    return [TextPart(f"\n{thoughts.closing}\n\n", trusted=True)]


def require_text(name: str, text: object) -> None:
    """Refuse what is no text, by its name.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(text, str):
        raise UsageError(f"{name} must be a text, not {type(text).__name__}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBuilder:
    """Makes requests to the engine of dialogues, as one loaded model wants them.

    Attributes:
        handler: renders dialogues and plans images.
        adds_bos: the tokenizer puts a begin token in front by itself.
        adds_eos: the tokenizer puts an end token behind by itself.
        is_raw: prompts have no chat template, and blanks before an answer are part of it.
        examples: come before each first question.
    """

    handler: ChatHandler
    adds_bos: bool
    adds_eos: bool
    is_raw: bool
    examples: tuple[Example, ...] = ()

    def without_template(self) -> RequestBuilder:
        """The builder that sends texts and images as they are."""
        return replace(self, handler=PlainHandler(self.handler), is_raw=True)

    def build(
        self, dialogue: Sequence[Message], sampling: SamplingParams, prefill: str = "", *, continues: bool = True
    ) -> Request:
        """The request that answers a dialogue.

        Args:
            dialogue: what was said.
            sampling: how the answer is made.
            prefill: the answer starts with this text.
            continues: whether the answer goes on from a last message of the assistant.

        Raises:
            UsageError: the model's template refuses the dialogue, or ``prefill`` is no text.
        """
        require_text("prefill", prefill)
        begun = dialogue[-1].role == "assistant" and continues
        said = dialogue[-1].text if begun else ""
        thinking = self.handler.thinking
        told = thinking.variables(sampling.think) | self.handler.known_variables(sampling.template_variables or {})
        shown = with_examples(dialogue[:-1] if begun else dialogue, self.examples)
        rendered = self.handler.render(shown, told)
        thoughts = thinking.marks(
            rendered, sampling.think, budget=sampling.think_budget, are_counted=sampling.limits_thoughts
        )
        of_examples = {id(example.image) for example in self.examples}
        given = said + prefill
        continued = self._continued(shown, given, told) if given else None
        parts: list[Part] = [
            self._image(item, is_asked_about=id(item) not in of_examples) if isinstance(item, Image) else item
            for item in continued or rendered
        ]
        if given:
            if continued is None:
                parts += closed(thoughts)  # what is given is the answer
                parts.append(TextPart(given))
            thoughts = None
        add_special = self._adds_special(parts)  # may put the begin token in front of them
        return Request(
            parts=tuple(parts),
            sampling=sampling,
            add_special=add_special,
            prefill=prefill,
            strip_start=not (self.is_raw or said or prefill or sampling.constraint),
            thoughts=thoughts,
        )

    def _continued(
        self, dialogue: Sequence[Message], given: str, told: Mapping[str, Any]
    ) -> list[TextPart | Image] | None:
        """The prompt up to the end of a begun answer, as the template has answers; ``None`` if it shows none so."""
        if self.is_raw or given != given.lstrip():
            return None
        try:
            return self.handler.render([*dialogue, Message("assistant", (given,))], told, continues=True)
        except (ModelError, UsageError):
            return None

    def build_behind(
        self, earlier: Sequence[tuple[int, ...] | Image], system: str, question: Message, sampling: SamplingParams
    ) -> Request:
        """The request that goes on behind an earlier prompt and its answer.

        Args:
            earlier: these, as tokens, and as images where they stood.
            system: a system message before the question; empty for none.
            question: the user's next message.
            sampling: how the answer is made.

        Raises:
            UsageError: the model's template shows no answers.
        """
        rendered = rendered_behind_answer(self.handler, system, question)
        parts = [TokensPart(item) if isinstance(item, tuple) else item for item in (*earlier, *rendered)]
        return Request(
            parts=tuple(self._image(part) if isinstance(part, Image) else part for part in parts),
            sampling=sampling,
            add_special=False,
            strip_start=not (self.is_raw or sampling.constraint),
        )

    def _image(self, image: Image, *, is_asked_about: bool = True) -> ImagePart:
        plan, bounds = self.handler.plan_of(image), self.handler.token_bounds
        return ImagePart(
            id=planned_id(image, plan),
            source=image.source,
            width=plan.width,
            height=plan.height,
            pixels=lambda: prepare(image, plan).rgb,
            original=OriginalImage(image.id, image.width, image.height, image.is_on_dark) if is_asked_about else None,
            least_tokens=bounds[0] if bounds else None,
        )

    def _adds_special(self, parts: list[Part]) -> bool:
        """Whether the tokenizer shall add the begin token; puts it in front as text where it also would add an end."""
        bos = self.handler.facts.tokens.bos
        first = parts[0]
        if bos and isinstance(first, TextPart) and first.trusted and first.text.startswith(bos):
            return False
        if not self.adds_eos:
            return True
        if self.adds_bos and bos:
            parts.insert(0, TextPart(bos, trusted=True))
        return False
