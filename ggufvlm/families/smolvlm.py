"""SmolVLM and Idefics 3: images cut into tiles."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.template import ImageStyle
from ggufvlm.families.tiles import with_overview
from ggufvlm.media import ImagePlan

_TILES_A_SIDE, _TILE = 4, 512


def long_size(width: int, height: int, *, longest_edge: int) -> tuple[int, int]:
    """The longer side brought to ``longest_edge``, the other one even.

    The formula is ``_resize_output_size_rescale_to_max_len`` of Transformers' ``image_processing_smolvlm.py``.

    Args:
        width, height: of the image, in pixels.
        longest_edge: what the longer side becomes.
    """
    aspect = width / height
    if width >= height:
        short = int(longest_edge / aspect)
        return longest_edge, max(1, short + short % 2)
    short = int(longest_edge * aspect)
    return max(1, short + short % 2), longest_edge


def tiled_size(width: int, height: int, *, tile: int) -> tuple[int, int]:
    """Both sides made up to whole tiles (``resize_for_vision_encoder``).

    Args:
        width, height: of the image, in pixels.
        tile: a tile's side.
    """
    return -(-width // tile) * tile, -(-height // tile) * tile


class SmolVLMHandler(ChatHandler):
    """Resizes as the reference does where the projector file does not tell libmtmd to."""

    # the template prints a blank after a role's colon, but not where an image follows
    images = ImageStyle(word="<image>")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        plan = self.image_plan(width, height)
        return plan.width, plan.height

    def n_tokens(self, width: int, height: int) -> int | None:
        tile = self.facts.image_size or _TILE
        if self.facts.longest_edge is not None:  # libmtmd resizes
            width, height = long_size(width, height, longest_edge=self.facts.longest_edge)
        else:
            width, height = self.target_size(width, height)
        return with_overview(-(-width // tile) * -(-height // tile)) * (tile // self.factor) ** 2

    def image_plan(self, width: int, height: int) -> ImagePlan:
        tile = self.facts.image_size
        if tile is None or self.facts.longest_edge is not None:
            return ImagePlan(width=width, height=height)
        long = long_size(width, height, longest_edge=_TILES_A_SIDE * tile)
        tiled = tiled_size(*long, tile=tile)
        return ImagePlan(width=tiled[0], height=tiled[1], by_way_of=long, resample="lanczos")


FAMILIES = (Family(name="SmolVLM", projectors=("idefics3",), handler=SmolVLMHandler, word="smolvlm"),)
