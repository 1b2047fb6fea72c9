"""In the engine's process: a question as it was asked -> a request that the engine only has to compute."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ggufvlm.config import SamplingSettings, with_settings
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.engine.request import ImagePart, Part, Request
from ggufvlm.errors import ConstraintError, UsageError
from ggufvlm.families import Message, read_messages
from ggufvlm.media import Image
from ggufvlm.server.contract import ClientQuestion, Limits
from ggufvlm.server.engines.images import BYTES_PER_PIXEL, Decoder, lowered
from ggufvlm.vlm.prompt_tokens import PromptTokens, TokenRuns
from ggufvlm.vlm.vlm import VLM
from ggufvlm.workers.prefetch import Budget


@dataclass(frozen=True, slots=True)
class ReadQuestion:
    """What was read.

    Attributes:
        request: with images at the size at which the projector gets them.
        n_bytes: of pixels that the request still holds.
        context: tokens of the prompt, if they are wanted.
    """

    request: Request
    n_bytes: int
    context: TokenRuns | None


class QuestionReader:
    """Reads questions for several threads.

    Attributes:
        budget: memory that decoded images may take.
        tokens: tokenizes as the engine does.
    """

    def __init__(self, vlm: VLM, limits: Limits) -> None:
        self._vlm = vlm
        self._limits = limits
        self._decoder = Decoder(limits.pixels)
        self.tokens = vlm.in_engine_thread(PromptTokens.of_engine)

    @property
    def budget(self) -> Budget:
        return self._decoder.budget

    def count_bytes(self, asked: ClientQuestion) -> int:
        """The memory that the images of a question will take.

        Raises:
            ImageError: one is no image, or they are too large.
            UsageError: a message holds something else than texts and images.
        """
        return self._decoder.count_bytes(_image_files(asked))

    def read(self, asked: ClientQuestion) -> ReadQuestion:
        """Decode and scale the images, render the prompt, compile the constraint.

        Raises:
            ImageError, UsageError: the question's fault.
        """
        settings = self._within_limits(asked.settings)
        if asked.thinks_if_it_can and "think" not in settings and self._vlm.handler.thinking.is_known:
            settings["think"] = True
        constraint = settings.get("constraint")
        if constraint is not None:
            _compile(constraint)  # here, while the engine goes on with others
        if asked.earlier:
            request = self._behind_earlier(asked, settings)
        elif asked.raw_prompt is None:
            request = self._vlm.build_request(self._dialogue(asked.messages), **settings)
        else:
            dialogue = self._plain_text(asked.raw_images, asked.raw_prompt)
            builder = self._vlm.request_builder.without_template()
            request = builder.build(dialogue, with_settings(self._vlm.sampling, settings))
        parts = tuple(self._scaled(part) for part in request.parts)
        return ReadQuestion(
            replace(request, parts=parts),
            sum(BYTES_PER_PIXEL * part.width * part.height for part in parts if isinstance(part, ImagePart)),
            self.tokens.of_request(request) if asked.wants_context else None,
        )

    def _behind_earlier(self, asked: ClientQuestion, settings: SamplingSettings) -> Request:
        places = itertools.count(1)
        earlier = [
            item if isinstance(item, tuple) else self._decoder.decode(item, next(places)) for item in asked.earlier
        ]
        *before, question = self._dialogue(asked.messages, places)
        sampling = with_settings(self._vlm.sampling, settings)
        system = "\n\n".join(message.text for message in before)
        return self._vlm.request_builder.build_behind(earlier, system, question, sampling)

    def _within_limits(self, settings: SamplingSettings) -> SamplingSettings:
        wanted, most = settings.get("max_tokens", self._vlm.sampling.max_tokens), self._limits.tokens
        # thoughts are tokens of the answer to OpenAI and Ollama
        return {**settings, "max_tokens": most if wanted == -1 else min(wanted, most), "limits_thoughts": True}

    def _dialogue(self, messages: Sequence[dict[str, Any]], places: Iterator[int] | None = None) -> list[Message]:
        places = places or itertools.count(1)

        def load(entry: dict[str, Any]) -> Image:
            image = self._decoder.decode(entry["image"], next(places))
            return lowered(image, self._vlm.handler) if entry.get("detail") == "low" else image

        # the whole entry goes where an image's name would be: nothing here ever is one
        return read_messages([{**message, "content": _entries(message["content"])} for message in messages], load)

    def _plain_text(self, files: Sequence[bytes], prompt: str) -> list[Message]:
        images = [self._decoder.decode(data, place) for place, data in enumerate(files, start=1)]
        return [Message("user", (*images, prompt))]

    def _scaled(self, part: Part) -> Part:
        """The engine's thread would scale an image when its turn comes, and all answers would wait."""
        if not isinstance(part, ImagePart):
            return part
        rgb = self._decoder.in_turn(part.pixels)
        return replace(part, pixels=lambda: rgb)


def _compile(constraint: Constraint) -> None:
    """Raises: ConstraintError, it is refused."""
    try:
        constraint.grammar()
    except UsageError as error:
        raise ConstraintError(str(error), hint=error.hint) from error


def _entries(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [{"type": "image", "image": item} if item["type"] == "image" else item for item in content]


def _image_files(asked: ClientQuestion) -> list[bytes]:
    """Raises: UsageError, an entry that is neither text nor image."""
    files = [item for item in asked.earlier if isinstance(item, bytes)] + list(asked.raw_images)
    for message in asked.messages:
        for item in () if isinstance(message["content"], str) else message["content"]:
            if item.get("type") == "image" and isinstance(item.get("image"), bytes):
                files.append(item["image"])
            elif item.get("type") != "text":
                raise UsageError("a message's content may hold text and images only")
    return files
