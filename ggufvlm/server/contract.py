"""What the routes ask of the engines, and what they get: the only thing that a router has to know of the server.

::

    stream = engines.ask(ClientQuestion(model="demo", messages=messages))
    async for event in until_hangup(request.receive, stream):  # ends, and frees the slot, if the client leaves
        ...  # Begun, then Piece after Piece, then Done
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ggufvlm.config import SamplingSettings
from ggufvlm.engine.sequence import TokenLogprob
from ggufvlm.errors import GGUFVLMError
from ggufvlm.vlm.answer import Answer

INDEFINITELY = -1.0
"""A ``keep_alive`` that never ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientQuestion:
    """One question of a client, free of everything that could name a file.

    Attributes:
        model: what the client calls it; ``None`` and an empty text are the server's first.
        messages: the dialogue in the Hub's chat format. Content is a text, or a list of
            ``{"type": "text", "text": str}`` and ``{"type": "image", "image": bytes}`` with the bytes of an image
            file, not decoded. An image with ``"detail": "low"`` gets a quarter of the model's tokens for images.
            A last message of the assistant is continued.
        raw_prompt: a text to be continued without a chat template, in place of messages.
        raw_images: bytes of image files that come before ``raw_prompt``.
        earlier: an earlier prompt and its answer, behind which ``messages`` stand: tokens, and bytes of image files
            where images stood. The messages are then a question, and maybe a system message before it.
        wants_context: tell the tokens of prompt and answer with it.
        thinks_if_it_can: let the model think before it answers, if it is one that can; ``settings`` may say so, too.
        settings: over the model's defaults; what makes no sense is refused with a UsageError.
        keep_alive: seconds for which the model is kept after this answer, :data:`INDEFINITELY`, 0 to unload it at once;
            ``None`` is the server's own rule.
    """

    model: str | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    raw_prompt: str | None = None
    raw_images: tuple[bytes, ...] = ()
    earlier: tuple[tuple[int, ...] | bytes, ...] = ()
    wants_context: bool = False
    thinks_if_it_can: bool = False
    settings: SamplingSettings = field(default_factory=lambda: SamplingSettings())
    keep_alive: float | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """Always the first event: the question was read and found to fit. Whatever is wrong with it was raised before.

    Only now is it time to send the headers of a stream. ``model`` is its name on this server.
    """

    model: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of the answer, or of what the model thinks before it.

    ``logprobs`` are of the answer's tokens, if they were asked for; the borders may differ a bit.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Always the last event. ``answer.text`` is the whole text, all pieces joined.

    Attributes:
        schema_check: whether the answer fits its schema, for a schema of which a grammar cannot hold all: ``fits``, or
            what is wrong.
        context: tokens of prompt and answer, cut where an image stands; ``None`` if they were not asked for.
    """

    answer: Answer
    schema_check: str | None = None
    context: tuple[tuple[int, ...], ...] | None = None


Event = Begun | Piece | Done


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A model that this server has.

    Attributes:
        name: what clients call it.
        aliases: what they may call it, too.
        created: when its file was written, in seconds since 1970.
        size: bytes of both files.
        digest: sha256 (hex) that names the files; of their headers and sizes, not of every byte.
        architecture: as in the header, such as ``qwen2vl``.
        parameters: number of weights of the language model; 0 if the header does not tell.
        quant: such as ``Q4_K_M``; empty if it is not known.
        n_ctx: the longest context it was trained for, in tokens; 0 if the header does not tell.
        template: the chat template's Jinja source, empty if it has none.
        box_scale: the number that stands for the whole width where it writes boxes; ``None`` if it writes none, or
            pixels of what it sees.
        is_loaded: whether it is in memory.
        on_gpu: the fraction of it that lies on a GPU, 0 to 1.
        expires: when it will be unloaded, in seconds since 1970; ``None`` while it answers, if it is kept indefinitely,
            or if it is not loaded.
    """

    name: str
    created: int
    size: int
    digest: str
    aliases: tuple[str, ...] = ()
    architecture: str = ""
    parameters: int = 0
    quant: str = ""
    n_ctx: int = 0
    template: str = ""
    box_scale: float | None = None
    is_loaded: bool = False
    on_gpu: float = 0.0
    expires: float | None = None

    def under_each_name(self) -> list[ModelCard]:
        """The same model once for each of its names."""
        return [replace(self, name=name, aliases=()) for name in (self.name, *self.aliases)]

    def is_called(self, name: str) -> bool:
        """Whether it is one of its names."""
        return plain_name(name) in map(plain_name, (self.name, *self.aliases))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one request may take.

    Attributes:
        body: bytes of a request's body. Enforced before any route sees it (413).
        images: of one request. For the routes to enforce.
        pixels: of one image, width times height; four times as many in one request. Enforced where they are decoded.
        tokens: of one answer; longer ones are not refused but end there with ``length``. Enforced by the engines.
        choices: answers to one request (OpenAI's ``n``).
        seconds: from the request to the end of its answer.
        silence: seconds for which a model's process may show no sign of life, or be at reading one request.
        queue: requests of a model that may wait while all its slots are taken; one more is refused (429).
    """

    body: int = 32_000_000
    images: int = 16
    pixels: int = 64_000_000
    tokens: int = 4096
    choices: int = 8
    seconds: float = 600.0
    silence: float = 60.0
    queue: int = 32


class Engines(Protocol):
    """The models of this server and their processes."""

    def cards(self) -> list[ModelCard]:
        """All models, the default one first. Cheap: headers are read once."""

    def card(self, name: str | None) -> ModelCard:
        """One model, by any of its names as :func:`plain_name` has them; none, or an empty one, is the first.

        Raises:
            UnknownModel: there is none of this name.
        """

    def card_to_answer(self, name: str | None) -> ModelCard:
        """As :meth:`card`; but where only one model is served it answers for all names, as in llama.cpp's server.

        Raises:
            UnknownModel: there are several, and none of this name.
        """

    @property
    def ill(self) -> list[str]:
        """Models whose process was ended because it did not answer any more, until they answer something again."""

    def ask(self, asked: ClientQuestion) -> AsyncGenerator[Event, None]:
        """Answer: first :class:`Begun`, then pieces, then :class:`Done`.

        Closing it early (``aclose``) aborts the answer and frees its slot.

        Raises:
            UnknownModel, UsageError, ImageError, ContextOverflow: the question's fault; before :class:`Begun`.
            Busy: the queue is full; before :class:`Begun`.
            TooSlow, EngineGone, EngineError, ModelError: at any time.
        """

    async def load(self, model: str | None, keep_alive: float | None = None) -> None:
        """Have a model in memory. 0 unloads it instead, once it answers nobody.

        Raises:
            UnknownModel, ModelError, EngineError: as :meth:`ask`.
        """


def plain_name(name: str) -> str:
    """A model's name without what makes no difference: upper and lower case, and ``:latest``."""
    return name.strip().lower().removesuffix(":latest")


class UnknownModel(GGUFVLMError):  # noqa: N818 - reads as what happened
    """The server has no model of this name. 404."""


class Busy(GGUFVLMError):  # noqa: N818
    """All slots are taken and the queue is full. 429 with ``Retry-After``."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds."""


class TooSlow(GGUFVLMError):  # noqa: N818
    """The answer took longer than the server allows. 504."""


class EngineGone(GGUFVLMError):  # noqa: N818
    """The engine's process ended while it answered, or the server is being stopped. 503."""


class NotServed(GGUFVLMError):  # noqa: N818
    """A field of the request asks for something that this server does not do. 400."""

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param
