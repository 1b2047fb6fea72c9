"""InternVL: images stretched over the grid of tiles whose shape is nearest theirs."""

from __future__ import annotations

from ggufvlm.families.base import ChatHandler
from ggufvlm.families.convention import REFERENCE_CONTROL, REFERENCE_EVERYTHING, REFERENCE_LABELLED, Convention
from ggufvlm.families.family import Family
from ggufvlm.families.shown import ImageStyle
from ggufvlm.families.templates import IMAGE_LINE, chatml
from ggufvlm.families.tiles import nearest_grid, with_overview

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

    def n_tokens(self, width: int, height: int) -> int | None:
        tile = self.facts.image_size or _TILE
        w, h = self.target_size(width, height)
        return with_overview(w // tile * (h // tile)) * (tile // self.factor) ** 2

    @property
    def token_bounds(self) -> tuple[int, int] | None:
        n_tokens = ((self.facts.image_size or _TILE) // self.factor) ** 2
        return n_tokens, with_overview(_MAX_TILES) * n_tokens

    @property
    def library_budget(self) -> tuple[int | None, int | None]:
        return None, None

    def _max_tiles(self, tile: int) -> int:
        if self.limit is None:
            return _MAX_TILES
        # a grid comes with one tile more, of the whole image
        return max(1, self.limit // (tile // self.factor) ** 2 - 1)


# huggingface.co/MoritzLaurer, internvl2-bbox-prompt.yaml; the question for all from memory
_BOXES = Convention(
    name="internvl_box",
    who="InternVL",
    scale=1000,
    everything=REFERENCE_EVERYTHING,
    labelled=REFERENCE_LABELLED,
    control=REFERENCE_CONTROL,
    one_by_one=True,
    shows_control=True,
)

FAMILIES = (
    Family(
        name="InternVL",
        projectors=("internvl",),
        handler=InternVLHandler,
        word="internvl",
        turns=chatml(IMAGE_LINE),
        convention=_BOXES,
        known_faults=("the thumbnail of a tiled image is resized otherwise than the reference's",),
    ),
)
