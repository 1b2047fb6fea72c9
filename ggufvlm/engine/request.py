"""What the engine is asked: a prompt in parts, and how to sample the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ggufvlm.config import SamplingParams
from ggufvlm.engine.thoughts import ThoughtMarks


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of prompt text. ``trusted`` text comes from a template: its special tokens are parsed."""

    text: str
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class TokensPart:
    """A piece of prompt that is tokens already, such as an earlier prompt and its answer."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OriginalImage:
    """The image that an :class:`ImagePart` was made of: the sha256 of its pixels, and its own size in pixels.

    Attributes:
        is_on_dark: what was transparent in it became dark.
    """

    id: str
    width: int
    height: int
    is_on_dark: bool = False


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image at its place in the prompt.

    Attributes:
        id: identity of the pixels and of everything that changes their tokens.
        source: what to call it in messages.
        width, height: pixels as the projector gets them.
        pixels: returns the RGB bytes, row by row; called only when the image has to be encoded.
        original: the image before it was resized, for the answer's numbers.
        least_tokens: the fewest that a limit could leave it; ``None``: a limit has no effect.
    """

    id: str
    source: str
    width: int
    height: int
    pixels: Callable[[], bytes]
    original: OriginalImage | None = None
    least_tokens: int | None = None


Part = TextPart | TokensPart | ImagePart


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One prompt and its sampling settings.

    Attributes:
        parts: the prompt, in order.
        sampling: how the answer is made.
        add_special: whether the tokenizer adds its own begin-of-sequence token; not with parts that are tokens.
        prefill: the text that the answer begins with; it is the end of the prompt.
        strip_start: drop blanks that the model puts before its answer.
        only_prefill: compute the prompt and say nothing, so that a prompt that begins like it starts sooner.
        continuation: the answer is this text, whatever the model would say: how probable it is gets measured.
        thoughts: how the model thinks before it answers; None if it does not.
    """

    parts: tuple[Part, ...]
    sampling: SamplingParams
    add_special: bool = True
    prefill: str = ""
    strip_start: bool = True
    only_prefill: bool = False
    continuation: str | None = None
    thoughts: ThoughtMarks | None = None


def merge_text(parts: tuple[Part, ...], control_tokens: Callable[[str], list[int]]) -> list[Part]:
    """Join neighbouring texts where user text cannot act as a special token.

    A tokenizer may put other tokens at the seam of two pieces than inside one text (and some add a blank at each
    start), so a run of texts is tokenized as one whenever that is safe: when parsing the joined run finds exactly the
    control tokens of its trusted pieces. Otherwise its pieces stay apart, and user text is never parsed.

    Args:
        parts: a prompt.
        control_tokens: the control tokens that parsing a text gives, in order.
    """
    merged: list[Part] = []
    run: list[TextPart] = []
    for part in (*parts, None):
        if isinstance(part, TextPart):
            if part.text:
                run.append(part)
            continue
        merged += _merge_run(run, control_tokens)
        run = []
        if part is not None:
            merged.append(part)
    return merged


def _merge_run(run: list[TextPart], control_tokens: Callable[[str], list[int]]) -> list[TextPart]:
    if len(run) <= 1 or not any(part.trusted for part in run):
        return list(run)
    joined = "".join(part.text for part in run)
    of_template = [token for part in run if part.trusted for token in control_tokens(part.text)]
    return [TextPart(joined, trusted=True)] if control_tokens(joined) == of_template else list(run)
