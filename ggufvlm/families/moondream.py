"""moondream2 in its old GGUF form: question and answer, no roles."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.llava import square_tokens
from ggufvlm.families.templates import BUILTIN_TEMPLATES


class MoondreamHandler(ChatHandler):
    """A question and an answer, behind one square image."""

    def n_tokens(self, width: int, height: int) -> int | None:
        return square_tokens(self.facts)


FAMILIES = (
    Family(
        name="moondream",
        projectors=("mlp",),
        handler=MoondreamHandler,
        word="moondream",
        architectures=("phi2",),
        turns=BUILTIN_TEMPLATES["moondream"],
    ),
)
