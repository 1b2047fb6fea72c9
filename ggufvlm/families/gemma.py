"""Gemma 3: each picture stretched over one square."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.template import PictureStyle

_SQUARE = 896


class Gemma3Handler(ChatHandler):
    """Resizes as the reference does, before libmtmd, which would put black bars beside the picture."""

    resample = "bilinear"
    # Gemma3Processor sets each picture apart by empty lines (full_image_sequence)
    pictures = PictureStyle(word="<start_of_image>", around=("\n\n", "\n\n"), around_plain=("\n\n", "\n\n"))

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        side = self.facts.image_size or _SQUARE
        return side, side
