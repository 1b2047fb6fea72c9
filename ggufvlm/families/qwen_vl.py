"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: images at their own resolution, fitted to the projector's grid."""

from __future__ import annotations

import math
from typing import ClassVar

from ggufvlm.errors import ImageError
from ggufvlm.families.base import DEFAULT_MAX_TOKENS, ChatHandler
from ggufvlm.families.convention import Convention
from ggufvlm.families.family import Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.sizes import kept_within
from ggufvlm.families.templates import chatml

MAX_ASPECT = 200
_LIBRARY_MAX_TOKENS = 4096
_MOST_TOKENS = 16384  # max_pixels of Qwen2-VL's preprocessor_config.json: 16384 times 28 x 28


def smart_resize(width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Sides that are multiples of ``factor``, area within the bounds, aspect kept as well as that allows.

    The formula is ``smart_resize`` of Qwen's ``image_processing_qwen2_vl.py``. Returns (width, height) in pixels.

    Args:
        width, height: of the image, in pixels.
        factor: pixels of a token's side.
        min_pixels, max_pixels: bounds of the area.

    Raises:
        ImageError: one side is more than 200 times the other, which the reference refuses too.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"an image of {width}x{height} is too narrow for this model: at most {MAX_ASPECT} to 1",
            hint="crop it, or cut it into pieces",
        )
    w = max(factor, round(width / factor) * factor)
    h = max(factor, round(height / factor) * factor)
    if w * h > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        w = max(factor, math.floor(width / shrink / factor) * factor)
        h = max(factor, math.floor(height / shrink / factor) * factor)
    elif w * h < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        w = math.ceil(width * grow / factor) * factor
        h = math.ceil(height * grow / factor) * factor
    return w, h


class QwenVLHandler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would letterbox with black bars."""

    images = ImageStyle(word="<|vision_start|><|image_pad|><|vision_end|>")
    default_min_tokens: ClassVar[int] = 4

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        factor, limit = self.factor, self.limit
        least = min(self.facts.image_min_tokens or self.default_min_tokens, _MOST_TOKENS)
        usual = max(self.facts.usual_max_tokens or DEFAULT_MAX_TOKENS, self.facts.image_min_tokens or 0)
        most = _MOST_TOKENS if limit else min(usual, _MOST_TOKENS)
        pixels = factor * factor
        size = smart_resize(
            width, height, factor=factor, min_pixels=min(least, most) * pixels, max_pixels=most * pixels
        )
        return kept_within(limit, (width, height), size, factor=factor) if limit else size

    def n_tokens(self, width: int, height: int) -> int | None:
        w, h = self.target_size(width, height)
        return -(-w // self.factor) * -(-h // self.factor)

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return 1, _MOST_TOKENS

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        # wide enough that libmtmd takes our size as it is; without a limit a narrow image may have a few tokens more
        least = self._within_bounds(self.facts.image_min_tokens) or 0
        return 1, max(_LIBRARY_MAX_TOKENS, 2 * (self.limit or 0), 2 * least)


class Qwen3VLHandler(QwenVLHandler):
    """Small images are made larger: the reference shows none at less than 256 x 256 pixels."""

    default_min_tokens = 64


_TURNS = chatml(system="You are a helpful assistant.")  # the template of their tokenizers; Qwen3-VL says nothing
_LABELLED = (
    "Locate every instance that belongs to the following categories: {label}. "
    "Report bbox coordinates and the label of each in JSON format."
)
_EVERYTHING = "Detect all objects in the image. Report bbox coordinates and the label of each in JSON format."
_POINTED = "Locate every {label} with points, report label and point coordinates in JSON format."
_MIN_TOKENS = 1024  # ggml-org/llama.cpp#16842: 1024 to 2048 are "the sweet spot"

# Qwen's GROUNDING_DATA_FORMAT.md; huggingface.co/maxiw/Qwen2-VL-Detection; the question for all from memory
_QWEN2_BOXES = Convention(
    name="qwen2_rel1000",
    who="Qwen2-VL",
    scale=1000,
    everything="Detect all objects in the image and give the bounding box of each.",
    labelled="Detect the bounding box of <|object_ref_start|>{label}<|object_ref_end|>",
    control=("<|object_ref_start|>", "<|object_ref_end|>"),
    one_by_one=True,
    shows_control=True,
    min_tokens=_MIN_TOKENS,
)
# QwenLM/Qwen3-VL#676: pixels of the image after the processor's resize; questions as in Qwen's cookbooks
_QWEN25_BOXES = Convention(
    name="qwen25_abs_px",
    who="Qwen2.5-VL",
    scale=None,
    everything=_EVERYTHING,
    labelled=_LABELLED,
    pointed=_POINTED,
    min_tokens=_MIN_TOKENS,
)
# ggml-org/llama.cpp#16842, #17131
_QWEN3_BOXES = Convention(
    name="qwen3_rel1000",
    who="Qwen3-VL and Qwen3.5",
    scale=1000,
    everything=_EVERYTHING,
    labelled=_LABELLED,
    pointed=_POINTED,
    min_tokens=_MIN_TOKENS,
)

FAMILIES = (
    Family(
        name="Qwen2-VL",
        projectors=("qwen2vl_merger",),
        handler=QwenVLHandler,
        word="qwen_vl",
        turns=_TURNS,
        takes_any_size=True,
        convention=_QWEN2_BOXES,
    ),
    Family(
        name="Qwen2.5-VL",
        projectors=("qwen2.5vl_merger",),
        handler=QwenVLHandler,
        word="qwen_vl",
        turns=_TURNS,
        takes_any_size=True,
        convention=_QWEN25_BOXES,
    ),
    Family(
        name="Qwen3-VL and Qwen3.5",
        projectors=("qwen3vl_merger",),
        handler=Qwen3VLHandler,
        word="qwen_vl",
        turns=chatml(),
        takes_any_size=True,
        convention=_QWEN3_BOXES,
        known_faults=("two of 64 rotary pairs of the vision tower turn otherwise than the reference's",),
    ),
)
