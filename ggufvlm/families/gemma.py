"""Gemma 3, each image stretched over one square; Gemma 4, which takes images as they are."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.convention import Convention
from ggufvlm.families.family import SCALE_FACTOR, CanvasRule, Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.templates import SHOW

_SQUARE = 896


class Gemma3Handler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would put black bars beside the image."""

    resample = "bilinear"
    # Gemma3Processor sets each image apart by empty lines (full_image_sequence)
    images = ImageStyle(word="<start_of_image>", around=("\n\n", "\n\n"), around_plain=("\n\n", "\n\n"))

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return None

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        side = self.facts.image_size or _SQUARE
        return side, side

    def n_tokens(self, width: int, height: int) -> int | None:
        return ((self.facts.image_size or _SQUARE) // self.factor) ** 2


class Gemma4Handler(ChatHandler):
    """Takes images as they are."""

    images = ImageStyle(word="<|image|>")


# ai.google.dev, Gemma's vision page, and Gemini's on images; for Gemma 3 a reply of Google's ("likely")
_BOXES = Convention(
    name="gemini_yx1000",
    who="Gemma 4 and Gemma 3",
    scale=1000,
    y_first=True,
    everything=(
        "Detect all prominent items in the image. Output a JSON list of "
        '{"box_2d": [ymin, xmin, ymax, xmax], "label": ...} normalized to 0-1000.'
    ),
    labelled=(
        'Detect {label}. Output a JSON list of {"box_2d": [ymin, xmin, ymax, xmax], "label": ...} normalized to 0-1000.'
    ),
    pointed=('Point to every {label}. Output a JSON list of {"point": [y, x], "label": ...} normalized to 0-1000.'),
)

# the tokenizer's template, and Gemma3Processor's full_image_sequence; a system message begins the first question
_TURNS_3 = (
    "{% macro show(content) %}{% for part in content %}"
    "{{ '\\n\\n' + part.text + '\\n\\n' if part.type == 'image' else part.text | trim }}{% endfor %}{% endmacro %}"
    "{{ bos_token }}{% set said = namespace(system='') %}{% for message in messages %}"
    "{% if message.role == 'system' %}{% set said.system = said.system + show(message.content) + '\\n\\n' %}"
    "{% else %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' }}"
    "{{ said.system + show(message.content) + '<end_of_turn>\\n' }}{% set said.system = '' %}{% endif %}"
    "{% endfor %}{{ '<start_of_turn>model\\n' }}"
)
# llama.cpp, common/parsers/gemma4.cpp
_TURNS_4 = SHOW + (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' + show(message.content) }}"
    "{{ '<turn|>\\n' }}{% endfor %}{{ '<|turn>model\\n' }}"
)
FAMILIES = (
    Family(
        name="Gemma 3",
        projectors=("gemma3",),
        handler=Gemma3Handler,
        word="gemma",
        turns=_TURNS_3,
        merge_size=4,
        convention=_BOXES,
    ),
    Family(
        name="Gemma 4",
        projectors=("gemma4v", "gemma4uv"),
        handler=Gemma4Handler,
        word="gemma",
        turns=_TURNS_4,
        canvas=CanvasRule(3, SCALE_FACTOR, (70, 1120)),
        convention=_BOXES,
    ),
)
