"""What every family's chat handler has: prompts from messages, and the size at which a picture is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ggufvlm.engine.request import TextPart
from ggufvlm.errors import UsageError
from ggufvlm.handlers.messages import Message
from ggufvlm.handlers.template import SpecialTokens, render
from ggufvlm.handlers.templates import BUILTIN_TEMPLATES
from ggufvlm.media import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What a handler has to know of a model.

    Attributes:
        template: the GGUF's Jinja source, ``None`` if it has none.
        builtin_template: name of the built-in template to use in place of the GGUF's.
        tokens: begin and end of a sequence.
        patch_size, merge_size: pixels of a patch's side; patches per side that become one token.
        image_min_tokens, image_max_tokens: budget of a picture; ``None`` leaves it to the family.
    """

    template: str | None = None
    builtin_template: str | None = None
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    patch_size: int = 14
    merge_size: int = 1
    image_min_tokens: int | None = None
    image_max_tokens: int | None = None


class ChatHandler:
    """A family of models. Knows no pixels and no llama.cpp."""

    fallback_template: ClassVar[str] = "chatml"

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    @property
    def template_name(self) -> str:
        """Which template renders the prompts, for people."""
        return "the model's own" if self._uses_own_template else self._builtin_name

    @property
    def _uses_own_template(self) -> bool:
        # the registry names a built-in one only where the GGUF's does not work
        return self.facts.template is not None and self.facts.builtin_template is None

    @property
    def _builtin_name(self) -> str:
        name = self.facts.builtin_template or self.fallback_template
        if name not in BUILTIN_TEMPLATES:
            raise UsageError(
                f"there is no built-in chat template {name!r}", hint=f"known: {', '.join(BUILTIN_TEMPLATES)}"
            )
        return name

    def render(self, messages: Sequence[Message]) -> list[TextPart | Image]:
        """The prompt of a dialogue, up to where the answer begins. Pictures stay where the user put them.

        Raises: UsageError, ModelError: see :func:`~ggufvlm.handlers.template.render`.
        """
        if self._uses_own_template and self.facts.template is not None:
            return render(self.facts.template, messages, self.facts.tokens)
        source = BUILTIN_TEMPLATES[self._builtin_name]
        return render(source, messages, self.facts.tokens, image_type="image")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height at which the projector gets a picture of this size.

        The default is the picture's own: libmtmd resizes.
        """
        return width, height

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        """Least and most tokens of a picture that libmtmd is told to keep to, ``None`` for its own bounds."""
        return self.facts.image_min_tokens, self.facts.image_max_tokens
