"""LFM2-VL: small images whole, large ones as tiles and a thumbnail."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.tiles import nearest_grid

_TILE, _MIN_TILES, _MAX_TILES = 512, 2, 10
_MAX_TOKENS, _TOLERANCE = 256, 2.0


class Lfm2VLHandler(ChatHandler):
    """Stretches a large image to the shape of its grid, into which libmtmd would put it with black bars."""

    resample = "bilinear"

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        if not self._is_large(width, height):
            return width, height  # libmtmd resizes as the reference does
        columns, rows = nearest_grid(width, height, tile=_TILE, min_tiles=_MIN_TILES, max_tiles=_MAX_TILES)
        size = columns * _TILE, rows * _TILE
        if self._is_large(*size):
            return size
        # two tiles are just not large: a little more, which libmtmd takes back
        return size[0] * 17 // 16, size[1] * 17 // 16

    def _is_large(self, width: int, height: int) -> bool:
        factor = self.facts.patch_size * self.facts.merge_size
        limit = (self.facts.image_max_tokens or _MAX_TOKENS) * factor * factor * _TOLERANCE
        w, h = (max(self.facts.patch_size, round(side / factor) * factor) for side in (width, height))
        return w * h > limit
