"""Pixtral and Mistral Small: images at their own resolution, rounded up to whole tokens."""

from __future__ import annotations

import math

from ggufvlm.families.base import DEFAULT_MAX_TOKENS, ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.sizes import kept_within
from ggufvlm.families.templates import SHOW

_LONGEST_EDGE = 1024
_MOST_TOKENS = 16384


def round_up(width: int, height: int, *, factor: int, longest_edge: int) -> tuple[int, int]:
    """Sides that are multiples of ``factor``, none above ``longest_edge``; images are never made larger than that.

    The formula is ``get_resize_output_image_size`` of Transformers' ``image_processing_pixtral.py``.

    Args:
        width, height: of the image, in pixels.
        factor: pixels of a token's side.
        longest_edge: the most pixels of a side.
    """
    ratio = max(width, height) / longest_edge
    if ratio > 1:
        width, height = max(1, math.floor(width / ratio)), max(1, math.floor(height / ratio))
    return -(-width // factor) * factor, -(-height // factor) * factor


class PixtralHandler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would round to the nearest and put black bars beside."""

    images = ImageStyle(word="[IMG]")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        factor = self.factor
        w, h = round_up(width, height, factor=factor, longest_edge=self.facts.image_size or _LONGEST_EDGE)
        limit, least = self.limit, self._within_bounds(self.facts.image_min_tokens) or 1
        most = _MOST_TOKENS if limit else max(self.facts.usual_max_tokens or DEFAULT_MAX_TOKENS, least)
        most, least = most * factor * factor, least * factor * factor
        if w * h > most:
            shrink = math.sqrt(width * height / most)
            w, h = (max(factor, math.floor(side / shrink / factor) * factor) for side in (width, height))
        elif w * h < least:
            grow = math.sqrt(least / (width * height))
            w, h = (math.ceil(side * grow / factor) * factor for side in (width, height))
        return kept_within(limit, (width, height), (w, h), factor=factor, count=_count_tokens) if limit else (w, h)

    def n_tokens(self, width: int, height: int) -> int | None:
        w, h = self.target_size(width, height)
        return _count_tokens(-(-w // self.factor), -(-h // self.factor))

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return 1, _MOST_TOKENS

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        return 1, 2 * _MOST_TOKENS  # wide enough that libmtmd takes our size as it is


def _count_tokens(columns: int, rows: int) -> int:
    return columns * rows + rows - 1  # each row but the last ends with a token of its own


# mistral_common's tokenizer of version 3: a system message comes in front of a question
_TURNS = SHOW + (
    "{{ bos_token }}{% set said = namespace(system='') %}{% for message in messages %}"
    "{% if message.role == 'system' %}{% set said.system = said.system + show(message.content) + '\\n\\n' %}"
    "{% elif message.role == 'user' %}{{ '[INST]' + said.system + show(message.content) + '[/INST]' }}"
    "{% set said.system = '' %}{% else %}{{ show(message.content) + eos_token }}{% endif %}{% endfor %}"
)
FAMILIES = (
    Family(
        name="Pixtral",
        projectors=("pixtral",),
        handler=PixtralHandler,
        word="pixtral",
        turns=_TURNS,
        merge_size=1,
    ),
)
