"""LLaVA 1.5 and 1.6, BakLLaVA and their relatives: a CLIP tower and an MLP."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler, ModelFacts
from ggufvlm.families.family import Family
from ggufvlm.families.templates import BUILTIN_TEMPLATES

_SIDE = 336


class LlavaHandler(ChatHandler):
    """The tower's size is fixed, so there is no token budget."""

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return None

    def n_tokens(self, width: int, height: int) -> int | None:
        return square_tokens(self.facts)


class MobileVLMHandler(LlavaHandler):
    """The same with a projector that joins tokens, in a way that only the loaded model tells."""

    def n_tokens(self, width: int, height: int) -> int | None:
        return None


def square_tokens(facts: ModelFacts) -> int | None:
    """A token for each patch of the one square; of LLaVA 1.6's tiles only the loaded model can tell."""
    return None if facts.has_tiles else ((facts.image_size or _SIDE) // facts.patch_size) ** 2


_TURNS = BUILTIN_TEMPLATES["vicuna"]
FAMILIES = (
    Family(name="LLaVA", projectors=("mlp",), handler=LlavaHandler, word="llava", turns=_TURNS),
    Family(name="MobileVLM", projectors=("ldp", "ldpv2"), handler=MobileVLMHandler, word="llava", turns=_TURNS),
)
