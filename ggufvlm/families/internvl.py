"""InternVL: images stretched over the grid of tiles whose shape is nearest theirs."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.template import ImageStyle
from ggufvlm.families.tiles import nearest_grid

_TILE = 448
_MAX_TILES = 12


class InternVLHandler(ChatHandler):
    """Chooses the grid as the reference does, before libmtmd, which takes another and puts black bars in it."""

    # the Transformers template prints the line's end; the original one knows no images, its code adds the line
    images = ImageStyle(word="<IMG_CONTEXT>", around_plain=("", "\n"))

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        tile = self.facts.image_size or _TILE
        columns, rows = nearest_grid(width, height, tile=tile, max_tiles=self._max_tiles(tile))
        return columns * tile, rows * tile

    def _max_tiles(self, tile: int) -> int:
        if self.facts.image_max_tokens is None:
            return _MAX_TILES
        n_tokens = (tile // (self.facts.patch_size * self.facts.merge_size)) ** 2
        # a grid comes with one tile more, of the whole image
        return min(_MAX_TILES, max(1, self.facts.image_max_tokens // n_tokens - 1))
