"""SmolVLM and Idefics 3: pictures cut into tiles."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.template import PictureStyle
from ggufvlm.media import PicturePlan

_TILES_A_SIDE = 4


def long_size(width: int, height: int, *, longest_edge: int) -> tuple[int, int]:
    """The longer side brought to ``longest_edge``, the other one even.

    The formula is ``_resize_output_size_rescale_to_max_len`` of Transformers' ``image_processing_smolvlm.py``.
    """
    aspect = width / height
    if width >= height:
        short = int(longest_edge / aspect)
        return longest_edge, max(1, short + short % 2)
    short = int(longest_edge * aspect)
    return max(1, short + short % 2), longest_edge


def tiled_size(width: int, height: int, *, tile: int) -> tuple[int, int]:
    """Both sides made up to whole tiles (``resize_for_vision_encoder``)."""
    return -(-width // tile) * tile, -(-height // tile) * tile


class SmolVLMHandler(ChatHandler):
    """Resizes as the reference does where the projector file does not tell libmtmd to."""

    # the template prints a blank after a role's colon, but not where a picture follows
    pictures = PictureStyle(word="<image>")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        plan = self.picture_plan(width, height)
        return plan.width, plan.height

    def picture_plan(self, width: int, height: int) -> PicturePlan:
        tile = self.facts.image_size
        if tile is None or self.facts.longest_edge is not None:
            return PicturePlan(width=width, height=height)
        long = long_size(width, height, longest_edge=_TILES_A_SIDE * tile)
        tiled = tiled_size(*long, tile=tile)
        return PicturePlan(width=tiled[0], height=tiled[1], by_way_of=long, resample="lanczos")
