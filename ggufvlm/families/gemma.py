"""Gemma 3: each image stretched over one square."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.template import ImageStyle

_SQUARE = 896


class Gemma3Handler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would put black bars beside the image."""

    resample = "bilinear"
    # Gemma3Processor sets each image apart by empty lines (full_image_sequence)
    images = ImageStyle(word="<start_of_image>", around=("\n\n", "\n\n"), around_plain=("\n\n", "\n\n"))

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        side = self.facts.image_size or _SQUARE
        return side, side
