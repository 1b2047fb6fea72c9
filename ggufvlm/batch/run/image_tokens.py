"""How many tokens an image takes, from its size and the projector's header: what libmtmd will do, without libmtmd.

Each formula is llama.cpp's own preprocessing (``tools/mtmd/mtmd-image.cpp``) of an image as our handler gives it.
Tokens of the text that stands between tiles are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ggufvlm.families import ChatHandler
from ggufvlm.families.smolvlm import long_size

_LFM2_TILE, _LFM2_MIN, _LFM2_MAX = 512, 64, 256
_LFM2_TOLERANCE = 2.0  # an image so much larger than one tile may be is cut


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectorGrid:
    """What a projector's header says about its grid.

    Attributes:
        factor: pixels of a token's side.
        image_size: pixels of a tile's side, or of the one square.
        longest_edge: pixels to which libmtmd brings the longer side before it cuts tiles.
    """

    factor: int
    image_size: int | None = None
    longest_edge: int | None = None


Counting = Callable[[ChatHandler, ProjectorGrid, int, int], int]


def counting_for(projector_type: str) -> Counting | None:
    """The formula of a kind of projector; ``None`` if only the loaded model can tell."""
    return _COUNTINGS.get(projector_type)


def _free(handler: ChatHandler, grid: ProjectorGrid, width: int, height: int) -> int:
    plan = handler.image_plan(width, height)
    return -(-plan.width // grid.factor) * -(-plan.height // grid.factor)


def _pixtral(handler: ChatHandler, grid: ProjectorGrid, width: int, height: int) -> int:
    """Each row but the last ends with a token of its own."""
    plan = handler.image_plan(width, height)
    rows = -(-plan.height // grid.factor)
    return -(-plan.width // grid.factor) * rows + rows - 1


def _gemma(_handler: ChatHandler, grid: ProjectorGrid, _width: int, _height: int) -> int:
    return ((grid.image_size or 896) // grid.factor) ** 2


def _internvl(handler: ChatHandler, grid: ProjectorGrid, width: int, height: int) -> int:
    tile = grid.image_size or 448
    plan = handler.image_plan(width, height)
    return _with_overview(plan.width // tile * (plan.height // tile)) * (tile // grid.factor) ** 2


def _smolvlm(handler: ChatHandler, grid: ProjectorGrid, width: int, height: int) -> int:
    tile = grid.image_size or 512
    if grid.longest_edge is not None:
        width, height = long_size(width, height, longest_edge=grid.longest_edge)
    else:
        plan = handler.image_plan(width, height)
        width, height = plan.width, plan.height
    return _with_overview(-(-width // tile) * -(-height // tile)) * (tile // grid.factor) ** 2


def _lfm2(handler: ChatHandler, grid: ProjectorGrid, width: int, height: int) -> int:
    """Tiles and a thumbnail if it is large, else whole: as the handler decides."""
    plan, most = handler.image_plan(width, height), handler.facts.image_max_tokens or _LFM2_MAX
    whole = _lfm2_whole(plan.width, plan.height, grid.factor, most)
    columns, rows = (max(1, round(side / grid.factor)) for side in (width, height))
    if columns * rows <= _LFM2_TOLERANCE * most:
        return whole
    return (plan.width // _LFM2_TILE) * (plan.height // _LFM2_TILE) * (_LFM2_TILE // grid.factor) ** 2 + whole


def _lfm2_whole(width: int, height: int, factor: int, most: int) -> int:
    """``smart_resize`` as Transformers' ``image_processing_lfm2_vl_fast.py`` has it."""
    columns, rows = (max(1, round(side / factor)) for side in (width, height))
    area = factor * factor
    if columns * rows > most:
        shrink = math.sqrt(width * height / (most * area))
        columns, rows = (max(1, math.floor(side / shrink / factor)) for side in (width, height))
    elif columns * rows < _LFM2_MIN:
        grow = math.sqrt(_LFM2_MIN * area / (width * height))
        columns, rows = (math.ceil(side * grow / factor) for side in (width, height))
    return columns * rows


def _with_overview(n_tiles: int) -> int:
    return n_tiles + 1 if n_tiles > 1 else n_tiles


_COUNTINGS: dict[str, Counting] = {
    "qwen2vl_merger": _free,
    "qwen2.5vl_merger": _free,
    "qwen3vl_merger": _free,
    "pixtral": _pixtral,
    "gemma3": _gemma,
    "internvl": _internvl,
    "idefics3": _smolvlm,
    "lfm2": _lfm2,
}
