"""LLaVA 1.5 and 1.6, BakLLaVA and their relatives: a CLIP tower and an MLP."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler


class LlavaHandler(ChatHandler):
    """Vicuna's format when the GGUF carries none. The tower's size is fixed, so there is no token budget."""

    fallback_template = "vicuna"

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        return None, None
