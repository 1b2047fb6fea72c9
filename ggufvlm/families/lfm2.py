"""LFM2-VL: small images whole, large ones as tiles and a thumbnail."""

from __future__ import annotations

import math

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.tiles import nearest_grid

_TILE, _MIN_TILES, _MAX_TILES = 512, 2, 10
_MIN_TOKENS, _MAX_TOKENS = 64, 256
_TOLERANCE = 2.0  # an image so much larger than one tile may be is cut


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

    def n_tokens(self, width: int, height: int) -> int | None:
        w, h = self.target_size(width, height)
        whole = self._n_whole(w, h)
        if not self._is_large(width, height):
            return whole
        return w // _TILE * (h // _TILE) * (_TILE // self.factor) ** 2 + whole

    def _n_whole(self, width: int, height: int) -> int:
        """Tokens of an image, or of a thumbnail: ``smart_resize`` of ``image_processing_lfm2_vl_fast.py``."""
        columns, rows = (max(1, round(side / self.factor)) for side in (width, height))
        area, most = self.factor**2, self.facts.image_max_tokens or _MAX_TOKENS
        if columns * rows > most:
            shrink = math.sqrt(width * height / (most * area))
            columns, rows = (max(1, math.floor(side / shrink / self.factor)) for side in (width, height))
        elif columns * rows < _MIN_TOKENS:
            grow = math.sqrt(_MIN_TOKENS * area / (width * height))
            columns, rows = (math.ceil(side * grow / self.factor) for side in (width, height))
        return columns * rows

    def _is_large(self, width: int, height: int) -> bool:
        limit = (self.facts.image_max_tokens or _MAX_TOKENS) * self.factor**2 * _TOLERANCE
        w, h = (max(self.facts.patch_size, round(side / self.factor) * self.factor) for side in (width, height))
        return w * h > limit


FAMILIES = (
    Family(
        name="LFM2-VL",
        projectors=("lfm2",),
        handler=Lfm2VLHandler,
        word="lfm2",
        known_faults=("the thumbnail of a tiled image is resized otherwise than the reference's",),
    ),
)
