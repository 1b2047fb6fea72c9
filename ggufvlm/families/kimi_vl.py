"""Kimi-VL: images at their own resolution, on a canvas of libmtmd's."""

from __future__ import annotations

from dataclasses import replace

from ggufvlm.families.convention import Convention
from ggufvlm.families.family import SCALE_FACTOR, CanvasRule, Family
from ggufvlm.families.templates import SHOW
from ggufvlm.families.thinking_styles import ThinkingStyle

# MoonshotAI/Kimi-VL#56; the questions are those of LFM2.5-VL's model card, from memory
_BOXES = Convention(
    name="json_rel1",
    who="Kimi-VL and LFM2.5-VL",
    scale=1,
    everything=(
        "Detect all objects in the image. Response must be a JSON array: "
        '[{"label": ..., "bbox": [x1, y1, x2, y2]}, ...]. Coordinates are normalized to [0,1].'
    ),
    labelled=(
        "Detect all instances of: {label}. Response must be a JSON array: "
        '[{"label": ..., "bbox": [x1, y1, x2, y2]}, ...]. Coordinates are normalized to [0,1].'
    ),
)

# llama.cpp's kimi-k2 (llama-chat.cpp)
_TURNS = SHOW + (
    "{% for message in messages %}{{ '<|im_' + message.role + '|>' + message.role + '<|im_middle|>' }}"
    "{{ show(message.content) + '<|im_end|>' }}{% endfor %}{{ '<|im_assistant|>assistant<|im_middle|>' }}"
)
_KIMI_VL = Family(
    name="Kimi-VL",
    projectors=("kimivl",),
    turns=_TURNS,
    canvas=CanvasRule(1, SCALE_FACTOR, (8, 1024)),
    convention=_BOXES,
)

FAMILIES = (
    _KIMI_VL,
    # its template knows nothing of thoughts; the marks are those of its model card
    replace(
        _KIMI_VL,
        name="Kimi-VL Thinking",
        names=("thinking",),
        thinks=ThinkingStyle(opening="◁think▷", closing="◁/think▷", is_certain=True),
    ),
)
