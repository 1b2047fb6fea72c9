"""DeepSeek-OCR and Unlimited-OCR, which is made of it."""

from __future__ import annotations

from ggufvlm.families.control import ControlText, MarkedText
from ggufvlm.families.convention import Convention
from ggufvlm.families.family import Family
from ggufvlm.families.pages import PagePrompts
from ggufvlm.families.templates import BUILTIN_TEMPLATES

# deepseek-ai/DeepSeek-OCR, run_dpsk_ocr_image.py: divided by 999, times the sides of the image before padding
_BOXES = Convention(
    name="deepseek_det999",
    who="DeepSeek-OCR and DeepSeek-VL2",
    scale=999,
    frame="image",
    everything="<|grounding|>Convert the document to markdown.",
    labelled="Locate <|ref|>{label}<|/ref|> in the image.",
    control=("<|grounding|>", "<|ref|>", "<|/ref|>"),
    one_by_one=True,
    shows_control=True,
)

_PROJECTORS = ("deepseekocr", "deepseekocr2")
FAMILIES = (
    Family(
        name="DeepSeek-OCR",
        projectors=_PROJECTORS,
        word="deepseek_ocr",
        turns=BUILTIN_TEMPLATES["plain"],
        convention=_BOXES,
        pages=PagePrompts(
            text="Free OCR.",
            markdown=MarkedText((ControlText("<|grounding|>"), "Convert the document to markdown.")),
            markup=("plain", "grounded"),
            shows_special=(False, True),
        ),
    ),
    Family(
        name="Unlimited-OCR",
        projectors=_PROJECTORS,
        word="deepseek_ocr",
        turns=BUILTIN_TEMPLATES["plain"],
        names=("unlimited-ocr",),
        convention=_BOXES,
        # its checkpoint has no answer to "Free OCR." (llama.cpp, tools/mtmd/tests/test-deepseek-ocr.py)
        pages=PagePrompts(
            text="document parsing.",
            markdown="document parsing.",
            markup=("grounded", "grounded"),
            shows_special=(True, True),
        ),
    ),
)
