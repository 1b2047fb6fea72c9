"""Chat templates: the GGUF's own Jinja, run in a sandbox, with user text kept apart from template text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families.hidden_text import PrintedWholeError
from ggufvlm.families.messages import Message
from ggufvlm.families.shown import SHAPES, ImageStyle, Shape, ShownDialogue, as_sent_or_joined
from ggufvlm.media import Image

_HINT = "--raw does without it"
_LONGEST_REFUSAL = 300


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Texts of the tokens that begin and end a sequence."""

    bos: str = ""
    eos: str = ""


def render(
    source: str,
    messages: Sequence[Message],
    tokens: SpecialTokens,
    *,
    image_type: str = "text",
    images: ImageStyle | None = None,
    told: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    continues: bool = False,
) -> list[TextPart | Image]:
    """Render a dialogue and the beginning of the answer.

    The template sees texts that it can look into, but whose characters stand for others, so nothing a user writes can
    act as a part of the template. Templates differ in what they accept: lists of parts or plain strings, with or
    without a system role, messages of one role in a row or not. The first form that a template renders completely and
    in order is taken; a dialogue as it was sent comes before one whose messages are joined.

    Args:
        source: Jinja source.
        messages: the dialogue.
        tokens: what ``bos_token`` and ``eos_token`` mean.
        image_type: the ``type`` of image parts; "text" keeps a template from printing its own wrapper around
            an image, which libmtmd adds.
        images: if the template prints the family's word for an image, parts are shown to it as images first,
            since it may print something else beside them than beside texts.
        told: further variables of the template, as JSON has them.
        tools: what the assistant may call, as Transformers has them.
        continues: the last message is the beginning of the answer, and nothing comes behind it
            (``continue_final_message`` of Transformers).

    Raises:
        ModelError: the template is broken, computes indefinitely, or leaves out even a single question.
        UsageError: the template has no form for the dialogue (for instance an answer before the first question).
    """
    compiled = _compile(source)
    style = images or ImageStyle()
    shown = ShownDialogue(messages, style)
    given = shown.told({**(told or {}), **({"tools": list(tools)} if tools else {})})
    given["add_generation_prompt"] = not continues
    knows_images = style.word is not None and style.word in source
    refusal = ""
    kinds = ("image", image_type) if knows_images else (image_type,)
    for dialogue, kind, shape in product(as_sent_or_joined(shown.messages), kinds, SHAPES):
        prints_word = knows_images and kind == "image"
        try:
            text = str.__str__(compiled(shape(dialogue, kind, prints_word), tokens, given, shown))
        except _Refused as error:
            refusal = refusal or str(error)
            continue
        if prints_word:
            text = shown.put_for_images(text)
        if shown.is_complete(text) and (not continues or shown.ends_with_last(text)):
            return shown.split(shown.up_to_last(text) if continues else text)
    if refusal:
        raise UsageError(f"the model's chat template refuses these messages: {refusal}")
    what, hint = "the model's chat template leaves out a part of these messages", "--raw sends them as they are"
    is_simple = [message.role for message in messages] == ["user"]
    raise ModelError(what, hint=hint) if is_simple else UsageError(what, hint=hint)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """The template raised, or does not take this form; then it says nothing."""


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
def _compile(source: str) -> Callable[[Shape, SpecialTokens, Mapping[str, Any], ShownDialogue], str]:
    from ggufvlm.families.template_bounds import BoundedEnvironment
    from ggufvlm.families.template_costs import TooMuch

    def refuse(message: object = "it says no more") -> None:
        raise _Refused(str(message))

    environment = BoundedEnvironment({"raise_exception": refuse})
    with _told_if_broken():
        template = environment.compiled(source)

    def rendered(messages: Shape, tokens: SpecialTokens, told: Mapping[str, Any], shown: ShownDialogue) -> str:
        names: dict[str, Any] = {
            "messages": messages,
            "bos_token": tokens.bos,
            "eos_token": tokens.eos,
            "add_generation_prompt": True,
            "tools": None,
            "documents": None,
            **told,
        }
        try:
            return environment.rendered(template, names, shown.alphabet, shown.n_characters)
        except PrintedWholeError as error:
            raise _Refused from error
        except (TooMuch, RecursionError, MemoryError) as error:
            raise ModelError(f"the model's chat template has no end: {_in_a_line(error)}", hint=_HINT) from error
        except Exception as error:
            raise _Refused(_in_a_line(shown.alphabet.read(str(error) or type(error).__name__))) from error

    return rendered


def _in_a_line(said: object) -> str:
    """What a template or Jinja says, as short as an error should be."""
    text = str(said)[:_LONGEST_REFUSAL] or type(said).__name__
    return "".join(character if character.isprintable() else " " for character in text)
