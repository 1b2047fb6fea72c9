"""GLM-4.1V and later, on a canvas of libmtmd's; and GLM-OCR, which has the same projector."""

from __future__ import annotations

from ggufvlm.families.convention import Convention
from ggufvlm.families.family import MERGE_SIZE, CanvasRule, Family
from ggufvlm.families.pages import PagePrompts
from ggufvlm.families.templates import SHOW

# zai-org's glmv-grounding skill: 0 to 1000, JSON with bbox_2d or lists in box tokens; questions from memory
_BOXES = Convention(
    name="glm_rel1000",
    who="GLM-4.1V and later",
    scale=1000,
    everything=(
        "Detect all objects in the image. Give their labels and bounding boxes as a JSON list of "
        '{"label": ..., "bbox_2d": [x1, y1, x2, y2]}.'
    ),
    labelled=(
        "Locate every {label} in the image. Give their labels and bounding boxes as a JSON list of "
        '{"label": ..., "bbox_2d": [x1, y1, x2, y2]}.'
    ),
    shows_control=True,
)

# llama.cpp's chatglm4 (llama-chat.cpp)
_TURNS = SHOW + (
    "{{ '[gMASK]<sop>' }}{% for message in messages %}{{ '<|' + message.role + '|>\\n' + show(message.content) }}"
    "{% endfor %}{{ '<|assistant|>\\n' }}"
)
_CANVAS = CanvasRule(2, MERGE_SIZE, (8, 4096))
FAMILIES = (
    Family(name="GLM-V", projectors=("glm4v",), word="glm", turns=_TURNS, canvas=_CANVAS, convention=_BOXES),
    Family(
        name="GLM-OCR",
        projectors=("glm4v",),
        word="glm",
        names=("glm-ocr", "glmocr"),
        turns=_TURNS,
        canvas=_CANVAS,
        pages=PagePrompts(text="Text Recognition:", markdown="Text Recognition:"),
    ),
)
