"""Base models: no template, the prompt as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import UsageError
from ggufvlm.families.base import ChatHandler
from ggufvlm.families.control import text_parts
from ggufvlm.families.messages import Message
from ggufvlm.families.thinking import Thinking
from ggufvlm.media import Image, ImagePlan


class PlainHandler(ChatHandler):
    """Images and texts in order, with nothing between them. Wraps a family's handler for its image sizes."""

    def __init__(self, family: ChatHandler) -> None:
        super().__init__(family.facts)
        self._family = family

    @property
    def thinking(self) -> Thinking:
        return Thinking(style=None)

    def known_variables(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if given:
            raise UsageError("without a chat template there are no variables of it to choose")
        return {}

    def render(
        self,
        messages: Sequence[Message],
        told: Mapping[str, Any] | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        continues: bool = False,
    ) -> list[TextPart | Image]:
        items = [item for message in messages for item in message.content if item]
        parts: list[TextPart | Image] = []
        for item in items:
            parts += [item] if isinstance(item, Image) else text_parts(item)
        if not parts or isinstance(parts[-1], Image):
            parts.append(TextPart("\n"))  # an answer can only follow text
        return parts

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        return self._family.target_size(width, height)

    def image_plan(self, width: int, height: int) -> ImagePlan:
        return self._family.image_plan(width, height)

    def n_tokens(self, width: int, height: int) -> int | None:
        return self._family.n_tokens(width, height)

    @property
    def _template_warning(self) -> str:
        return ""

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return self._family.token_bounds

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        return self._family.library_budget
