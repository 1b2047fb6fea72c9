"""SmolVLM and Idefics 3: images cut into tiles."""

from __future__ import annotations

import math

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.family import Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.templates import SHOW
from ggufvlm.media import ImagePlan

_TILES_A_SIDE, _TILE = 4, 512
_ROUNDING = 1e-6


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
    """Resizes as the reference does where libmtmd does not: the projector file may not tell it to.

    Given a limit, libmtmd makes grids of its own, with black bars. So it gets images that already have the sides of a
    grid that it would make.
    """

    # the template prints a blank after a role's colon, but not where an image follows
    images = ImageStyle(word="<image>")

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        plan = self.image_plan(width, height)
        return plan.width, plan.height

    def n_tokens(self, width: int, height: int) -> int | None:
        columns, rows = self._grid(width, height)
        return (columns * rows + 1) * self._tile_tokens  # the image as a whole is one more

    def image_plan(self, width: int, height: int) -> ImagePlan:
        edge = self.facts.longest_edge
        # libmtmd resizes, but not what it would leave no pixel of
        if self.facts.image_size is None or (
            edge is not None and self._most_tiles is None and edge * min(width, height) >= max(width, height)
        ):
            return ImagePlan(width=width, height=height)
        columns, rows = self._grid(width, height)
        size = columns * self._tile, rows * self._tile
        long = long_size(width, height, longest_edge=self._longest_edge)
        by_way_of = long if tiled_size(*long, tile=self._tile) == size else None
        return ImagePlan(width=size[0], height=size[1], by_way_of=by_way_of, resample="lanczos")

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        return 2 * self._tile_tokens, (self._tiles_a_side**2 + 1) * self._tile_tokens

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        if self._most_tiles is None or self.facts.longest_edge is None:
            return None, None
        return None, -(-self._most_tiles * self._tile**2 // self.factor**2)

    @property
    def _tile(self) -> int:
        return self.facts.image_size or _TILE

    @property
    def _tile_tokens(self) -> int:
        return (self._tile // self.factor) ** 2

    @property
    def _longest_edge(self) -> int:
        return self.facts.longest_edge or _TILES_A_SIDE * self._tile

    @property
    def _tiles_a_side(self) -> int:
        return -(-self._longest_edge // self._tile)

    @property
    def _most_tiles(self) -> int | None:
        """Beside the one of the whole image; ``None`` if the limit allows as many as there can be."""
        most = self._tiles_a_side**2 if self.limit is None else self.limit // self._tile_tokens - 1
        return most if most < self._tiles_a_side**2 else None

    def _grid(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows of the tiles: the reference's, or if these are too many those nearest in shape."""
        columns, rows = self._in_tiles(*long_size(width, height, longest_edge=self._longest_edge))
        most = self._most_tiles
        if most is None or columns * rows <= most:
            return columns, rows
        sides = range(1, min(most, self._tiles_a_side) + 1)
        grids = [(c, r) for c in sides for r in sides if c * r <= most and self._is_kept(c, r, most)]
        return min(grids, key=lambda grid: (_difference(width / height, grid), -grid[0] * grid[1]))

    def _in_tiles(self, width: int, height: int) -> tuple[int, int]:
        w, h = tiled_size(width, height, tile=self._tile)
        return w // self._tile, h // self._tile

    def _is_kept(self, columns: int, rows: int, most: int) -> bool:
        """Whether libmtmd leaves an image of these sides, in tiles, as it is when it was told a limit.

        It first scales the longer side to the longest edge and rounds up, then, above the limit, shrinks the image as
        it was and rounds down (``calc_size_preserved_ratio`` of ``mtmd-image.cpp``).
        """
        if self.facts.longest_edge is None:
            return True  # nor is it told one
        scale = self.facts.longest_edge / (self._tile * max(columns, rows))
        long = math.ceil(columns * scale - _ROUNDING), math.ceil(rows * scale - _ROUNDING)
        if long[0] * long[1] <= most:
            return long == (columns, rows)
        grow = math.sqrt(most / (columns * rows))
        return math.floor(max(columns, rows) * grow + _ROUNDING) == max(columns, rows)


def _difference(aspect: float, grid: tuple[int, int]) -> float:
    return round(abs(math.log(aspect * grid[1] / grid[0])), 9)


# the processor's chat_template.json: no blank follows the role where an image does
_TURNS = SHOW + (
    "{{ '<|im_start|>' }}{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content and message.content[0].type == 'image' else ': ' }}{{ show(message.content) }}"
    "{{ '<end_of_utterance>\\n' }}{% endfor %}{{ 'Assistant:' }}"
)
FAMILIES = (Family(name="SmolVLM", projectors=("idefics3",), handler=SmolVLMHandler, word="smolvlm", turns=_TURNS),)
