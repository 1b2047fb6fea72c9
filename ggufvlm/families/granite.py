"""Granite Vision, which has LLaVA's projector, and Granite-Docling and SmolDocling, which have SmolVLM's."""

from __future__ import annotations

from ggufvlm.families.convention import Convention
from ggufvlm.families.family import Family
from ggufvlm.families.llava import LlavaHandler
from ggufvlm.families.pages import PagePrompts
from ggufvlm.families.smolvlm import SmolVLMHandler

# ibm-granite/granite-docling-258M: its only task; a grid of 500
_DOCTAGS = Convention(
    name="doctags", who="Granite-Docling", scale=500, everything="Convert this page to docling.", shows_control=True
)

FAMILIES = (
    Family(
        name="Granite Vision",
        projectors=("mlp",),
        handler=LlavaHandler,
        word="granite",
        architectures=("granite", "granite_swa"),
    ),
    Family(
        name="DocTags",
        projectors=("idefics3",),
        handler=SmolVLMHandler,
        word="granite",
        names=("granite-docling", "smoldocling"),
        convention=_DOCTAGS,
        pages=PagePrompts(
            text="Convert this page to docling.",
            markdown="Convert this page to docling.",
            markup=("doctags", "doctags"),
            shows_special=(True, True),
        ),
    ),
)
