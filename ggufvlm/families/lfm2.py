"""LFM2-VL: small images whole, large ones as tiles and a thumbnail."""

from __future__ import annotations

import math

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.sizes import kept_within
from ggufvlm.families.templates import chatml
from ggufvlm.families.tiles import nearest_grid

_TILE, _MIN_TILES, _MAX_TILES = 512, 2, 10
_MIN_TOKENS, _MAX_TOKENS = 64, 256  # of an image that is seen whole, and of a thumbnail
_TOLERANCE = 2.0  # an image so much larger than one tile may be is cut


class Lfm2VLHandler(ChatHandler):
    """Stretches a large image to the shape of its grid, into which libmtmd would put it with black bars.

    A limit takes tiles away, and below the fewest shrinks the whole image: libmtmd takes one for a bound of the
    thumbnail, above which it cuts an image the sooner.
    """

    images = ImageStyle(word="<image>")
    resample = "bilinear"

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        grid = self._grid(width, height)
        if grid is not None:
            return self._stretched(grid)
        if self.limit is None:
            return width, height  # libmtmd resizes as the reference does
        size = self._whole(width, height)
        return kept_within(min(self.limit, _MAX_TOKENS), (width, height), size, factor=self.factor)

    def n_tokens(self, width: int, height: int) -> int | None:
        grid = self._grid(width, height)
        if grid is not None:
            return self._n_tiled(grid)
        return self._count(*(self._whole(width, height) if self.limit is None else self.target_size(width, height)))

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return _MIN_TOKENS, _MAX_TILES * self._count(_TILE, _TILE) + _MAX_TOKENS

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        return self._least if self.limit is None else 1, _MAX_TOKENS

    @property
    def _least(self) -> int:
        return min(self.facts.image_min_tokens or _MIN_TOKENS, _MAX_TOKENS)

    def _count(self, width: int, height: int) -> int:
        return width // self.factor * (height // self.factor)

    def _grid(self, width: int, height: int) -> tuple[int, int] | None:
        """Columns and rows of the tiles; ``None`` if the image is seen whole."""
        if not self._is_large(width, height):
            return None
        for most in range(_MAX_TILES, _MIN_TILES - 1, -1):
            grid = nearest_grid(width, height, tile=_TILE, min_tiles=_MIN_TILES, max_tiles=most)
            if self.limit is None or self._n_tiled(grid) <= self.limit:
                return grid
        return None

    def _n_tiled(self, grid: tuple[int, int]) -> int:
        return grid[0] * grid[1] * self._count(_TILE, _TILE) + self._count(*self._whole(*self._stretched(grid)))

    def _stretched(self, grid: tuple[int, int]) -> tuple[int, int]:
        width, height = grid[0] * _TILE, grid[1] * _TILE
        if self._is_large(width, height):
            return width, height
        # two tiles are just not large: a little more, which libmtmd takes back
        return width * 17 // 16, height * 17 // 16

    def _whole(self, width: int, height: int) -> tuple[int, int]:
        """Sides of an image, or of a thumbnail: ``smart_resize`` of ``image_processing_lfm2_vl_fast.py``."""
        factor, area = self.factor, self.factor**2
        w, h = (max(1, round(side / factor)) * factor for side in (width, height))
        if w * h > _MAX_TOKENS * area:
            shrink = math.sqrt(width * height / (_MAX_TOKENS * area))
            w, h = (max(1, math.floor(side / shrink / factor)) * factor for side in (width, height))
        elif w * h < self._least * area:
            grow = math.sqrt(self._least * area / (width * height))
            w, h = (math.ceil(side * grow / factor) * factor for side in (width, height))
        return w, h

    def _is_large(self, width: int, height: int) -> bool:
        limit = _MAX_TOKENS * self.factor**2 * _TOLERANCE
        w, h = (max(self.facts.patch_size, round(side / self.factor) * self.factor) for side in (width, height))
        return w * h > limit


FAMILIES = (
    Family(
        name="LFM2-VL",
        projectors=("lfm2",),
        handler=Lfm2VLHandler,
        word="lfm2",
        turns="{{ bos_token }}" + chatml(),
        known_faults=("the thumbnail of a tiled image is resized otherwise than the reference's",),
    ),
)
