"""The canvas that is computed here is the one that libmtmd makes: by its counts, and by what its projector sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.families.registry import choose_family
from ggufvlm.gguf.header import GGUFHeader
from ggufvlm.grounding.letterbox import Grid, canvas_size, grid_of, letterbox
from ggufvlm.llama.chunks import ImageInput
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget

DEMO = Path(ggufvlm.__file__).parent / "demo"
STEP = 28
BUDGET = TokenBudget(minimum=8, maximum=120)
GRID = Grid(STEP, 8 * STEP * STEP, 120 * STEP * STEP)


@pytest.fixture(scope="module")
def projector() -> Iterator[Projector]:
    """Of a family whose images libmtmd puts on a canvas, if its handler does not size them before."""
    with Model.load(DEMO / "tiny-qwen2vl-Q8_0.gguf") as model:
        made = Projector(DEMO / "mmproj-tiny-qwen2vl-F16.gguf", model, EngineConfig(), BUDGET, 2)
        yield made
        made.close()


def seen(projector: Projector, image: Image.Image) -> np.ndarray:
    part = ImageInput("p", image.width, image.height, image.tobytes())
    chunks = projector.tokenize([part], add_special=False)
    try:
        return np.array(next(projector.encode(chunk) for chunk in chunks if chunk.image_id is not None))
    finally:
        chunks.close()


sides = st.integers(10, 3000)


@settings(max_examples=300, deadline=None)
@given(width=sides, height=sides)
def test_it_has_the_size_that_libmtmd_counts(projector: Projector, width: int, height: int) -> None:
    if max(width, height) > 30 * min(width, height):
        return
    chunks = projector.tokenize([ImageInput("p", width, height)], add_special=False)
    counts = [(chunk.n_cells, chunk.n_pos) for chunk in chunks if chunk.image_id is not None]
    chunks.close()
    columns, rows = (side // STEP for side in canvas_size(width, height, GRID))
    assert counts == [(columns * rows, max(columns, rows))]


@pytest.mark.parametrize("size", [(122, 130), (130, 122), (155, 98), (400, 97), (97, 400), (1000, 730), (50, 70)])
def test_the_image_lies_on_it_where_libmtmd_puts_it(projector: Projector, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    view = letterbox(*size, canvas_size(*size, GRID))

    def canvas(shift: int = 0) -> Image.Image:
        drawn = Image.new("RGB", (int(view.width), int(view.height)))
        shown = image.resize((int(view.shown_width), int(view.shown_height)), Image.Resampling.BICUBIC)
        drawn.paste(shown, (int(view.left) + shift, int(view.top) + shift))
        return drawn

    theirs, ours, shifted = seen(projector, image), seen(projector, canvas()), seen(projector, canvas(2))
    assert np.abs(theirs - ours).max() < 1e-3 * np.abs(theirs).max()
    assert np.abs(theirs - shifted).max() > 1e-2 * np.abs(theirs).max()


def header(kind: str, **keys: int) -> GGUFHeader:
    metadata = {f"clip.vision.{key}": value for key, value in keys.items()}
    return GGUFHeader(
        name="mmproj",
        version=3,
        metadata={"clip.projector_type": kind, **metadata},
        types={},
        tensors={},
        data_offset=0,
        file_size=0,
        complete=True,
    )


def grid_for(kind: str, budget: tuple[int | None, int | None], **keys: int) -> Grid | None:
    return grid_of(header(kind, **keys), choose_family(kind).canvas, budget)


def test_the_bounds_of_each_family() -> None:
    def tokens(low: int, high: int, side: int) -> Grid:
        return Grid(side, low * side * side, high * side * side)

    assert grid_for("glm4v", (None, None), patch_size=14, spatial_merge_size=2) == tokens(8, 4096, 28)
    assert grid_for("glm4v", (None, 1024), patch_size=14) == tokens(8, 1024, 28)
    assert grid_for("gemma4v", (256, None), patch_size=16) == tokens(256, 1120, 48)
    scaled = {"patch_size": 14, "projector.scale_factor": 2}
    assert grid_for("kimivl", (None, None), **scaled) == tokens(8, 1024, 28)
    pixels = {"image_min_pixels": 3136, "image_max_pixels": 11289600}
    assert grid_for("dots_ocr", (5, 6), **scaled, **pixels) == Grid(28, 3136, 11289600)


def test_families_whose_handler_sizes_images_have_no_bars() -> None:
    for kind in ("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger", "internvl", "gemma3", "idefics3"):
        assert grid_for(kind, (None, None), patch_size=14) is None


def test_1080p_is_as_large_as_users_saw_it() -> None:
    # JamePeng/llama-cpp-python#152: chunk_n_tokens 2040, patches of 16
    grid = Grid(32, 8 * 32 * 32, 4096 * 32 * 32)
    assert canvas_size(1920, 1080, grid) == (1920, 1088)
    view = letterbox(1920, 1080, (1920, 1088))
    assert (view.left, view.top, view.shown_width, view.shown_height) == (0, 4, 1920, 1080)
