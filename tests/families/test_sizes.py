"""At which size each family is shown an image, against sizes that Transformers' image processors give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.families import ChatHandler, ModelFacts
from ggufvlm.families.gemma import Gemma3Handler, Gemma4Handler
from ggufvlm.families.internvl import InternVLHandler
from ggufvlm.families.lfm2 import Lfm2VLHandler
from ggufvlm.families.llava import LlavaHandler
from ggufvlm.families.moondream import MoondreamHandler
from ggufvlm.families.pixtral import PixtralHandler, round_up
from ggufvlm.families.qwen_vl import Qwen3VLHandler, QwenVLHandler
from ggufvlm.families.registry import choose_family
from ggufvlm.families.smolvlm import SmolVLMHandler, long_size
from ggufvlm.families.tiles import nearest_grid

SIDES = st.integers(1, 5000)
Size = tuple[int, int]

# (width, height) -> (columns, rows): get_optimal_tiled_canvas, tiles of 448, 1 to 12 of them
INTERNVL_GRIDS = {
    (448, 448): (1, 1),
    (100, 130): (3, 4),
    (1200, 800): (3, 2),
    (4032, 3024): (4, 3),
    (900, 900): (2, 2),
    (1400, 60): (12, 1),
    (30, 2000): (1, 12),
    (896, 448): (2, 1),
    (1300, 650): (4, 2),
}
# Lfm2VlImageProcessor: None is one piece
LFM2_GRIDS = {
    (448, 448): None,
    (1200, 800): (3, 2),
    (900, 900): (2, 2),
    (1400, 60): None,
    (896, 448): None,
    (1300, 650): (2, 1),
    (2000, 1000): (4, 2),
}
# get_resize_output_image_size, longest edge 1024, patches of 16
PIXTRAL_SIZES = {
    (448, 448): (448, 448),
    (100, 130): (112, 144),
    (1200, 800): (1024, 688),
    (4032, 3024): (1024, 768),
    (1400, 60): (1024, 48),
    (30, 2000): (16, 1024),
}
# SmolVLMImageProcessor, longest edge 2048, tiles of 512: the two sizes it resizes to
SMOLVLM_SIZES = {
    (448, 448): ((2048, 2048), (2048, 2048)),
    (100, 130): ((1576, 2048), (2048, 2048)),
    (1200, 800): ((2048, 1366), (2048, 1536)),
    (4032, 3024): ((2048, 1536), (2048, 1536)),
    (1400, 60): ((2048, 88), (2048, 512)),
    (30, 2000): ((30, 2048), (512, 2048)),
    (333, 777): ((878, 2048), (1024, 2048)),
}


@pytest.mark.parametrize("size", INTERNVL_GRIDS)
def test_internvl_stretches_over_the_reference_s_grid(size: Size) -> None:
    columns, rows = INTERNVL_GRIDS[size]
    assert InternVLHandler(ModelFacts()).target_size(*size) == (columns * 448, rows * 448)


def test_internvl_keeps_to_the_user_s_budget() -> None:
    facts = ModelFacts(image_max_tokens=1024, image_size=448)  # 256 tokens a tile, one of them for the thumbnail
    for size in INTERNVL_GRIDS:
        width, height = InternVLHandler(facts).target_size(*size)
        assert width * height <= 3 * 448 * 448
    assert InternVLHandler(ModelFacts(image_max_tokens=1)).target_size(100, 130) == (448, 448)


@pytest.mark.parametrize("size", LFM2_GRIDS)
def test_lfm2_stretches_large_images_over_the_reference_s_grid(size: Size) -> None:
    width, height = Lfm2VLHandler(ModelFacts(patch_size=16, merge_size=2)).target_size(*size)
    grid = LFM2_GRIDS[size]
    if grid is None:
        assert (width, height) == size
    else:
        assert width * grid[1] == height * grid[0]  # the grid's own proportions, so that no bars are needed
        assert width >= grid[0] * 512


def test_lfm2_two_tiles_are_large_enough_to_be_cut() -> None:
    width, height = Lfm2VLHandler(ModelFacts(patch_size=16, merge_size=2)).target_size(1300, 650)
    assert width * height > 2 * 256 * 32 * 32  # libmtmd's should_tile: strictly more


@given(st.integers(600, 6000), st.integers(300, 6000))
def test_libmtmd_finds_the_same_grid_for_the_stretched_image(width: int, height: int) -> None:
    target = Lfm2VLHandler(ModelFacts(patch_size=16, merge_size=2)).target_size(width, height)
    if target != (width, height):
        grids = [nearest_grid(*size, tile=512, min_tiles=2, max_tiles=10) for size in ((width, height), target)]
        assert grids[0] == grids[1]


def library_canvas(width: int, height: int) -> Size:
    """As libmtmd's select_best_resolution: as many of the image's pixels as possible, then the least area."""
    best, most, least = (0, 0), 0, 0
    for w, h in ((448 * c, 448 * r) for c in range(1, 13) for r in range(1, 12 // c + 1)):
        scale = min(w / width, h / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        if kept > most or (kept == most and w * h - kept < least):
            best, most, least = (w, h), kept, w * h - kept
    return best


@given(SIDES, SIDES)
def test_libmtmd_cuts_internvl_s_stretched_image_as_it_is(width: int, height: int) -> None:
    size = InternVLHandler(ModelFacts()).target_size(width, height)
    assert library_canvas(*size) == size


@pytest.mark.parametrize("size", PIXTRAL_SIZES)
def test_pixtral_rounds_up(size: Size) -> None:
    assert round_up(*size, factor=16, longest_edge=1024) == PIXTRAL_SIZES[size]


@given(SIDES, SIDES)
def test_pixtral_s_sides_lie_on_the_grid_and_within_the_budget(width: int, height: int) -> None:
    handler = PixtralHandler(ModelFacts(patch_size=16, merge_size=1, image_max_tokens=200, image_min_tokens=8))
    w, h = handler.target_size(width, height)
    assert w % 16 == h % 16 == 0
    assert min(w, h) >= 16
    assert w * h >= 8 * 256
    assert w * h <= 200 * 256 or min(w, h) == 16


@pytest.mark.parametrize("size", SMOLVLM_SIZES)
def test_smolvlm_is_shown_whole_tiles_where_its_file_does_not_tell_libmtmd_the_size(size: Size) -> None:
    long, tiled = SMOLVLM_SIZES[size]
    assert long_size(*size, longest_edge=2048) == long
    plan = SmolVLMHandler(ModelFacts(image_size=512)).image_plan(*size)
    assert (plan.by_way_of, plan.width, plan.height, plan.resample) == (long, *tiled, "lanczos")
    assert SmolVLMHandler(ModelFacts(image_size=512)).target_size(*size) == tiled
    assert SmolVLMHandler(ModelFacts(image_size=512, longest_edge=2048)).target_size(*size) == size
    assert SmolVLMHandler(ModelFacts()).target_size(*size) == size


def test_gemma_s_images_are_squares() -> None:
    plan = Gemma3Handler(ModelFacts()).image_plan(300, 100)
    assert (plan.width, plan.height, plan.pad_color, plan.resample) == (896, 896, None, "bilinear")
    assert Gemma3Handler(ModelFacts(image_size=224)).target_size(300, 100) == (224, 224)


def test_qwen3_makes_small_images_larger() -> None:
    facts = ModelFacts(patch_size=16, merge_size=2)
    assert Qwen3VLHandler(facts).target_size(100, 100) == (256, 256)
    assert QwenVLHandler(facts).target_size(100, 100) == (96, 96)
    assert Qwen3VLHandler(ModelFacts(patch_size=16, merge_size=2, image_min_tokens=4)).target_size(99, 99) == (96, 96)


@given(SIDES, SIDES, st.integers(1, 4), st.integers(4, 12))
def test_a_grid_has_no_more_tiles_than_allowed(width: int, height: int, least: int, most: int) -> None:
    columns, rows = nearest_grid(width, height, tile=448, min_tiles=least, max_tiles=most)
    assert least <= columns * rows <= most


@pytest.mark.parametrize(
    ("name", "projector_type", "architecture", "handler"),
    [
        (None, "qwen2vl_merger", "qwen2vl", QwenVLHandler),
        (None, "qwen3vl_merger", "qwen3vl", Qwen3VLHandler),
        ("qwen_vl", "qwen3vl_merger", "qwen3vl", Qwen3VLHandler),
        ("qwen_vl", "another_merger", "qwen4vl", QwenVLHandler),
        (None, "mlp", "llama", LlavaHandler),
        (None, "mlp", "phi2", MoondreamHandler),
        ("moondream", "mlp", "phi2", MoondreamHandler),
        ("llava", "mlp", "phi2", LlavaHandler),
        ("gemma", "gemma3", "gemma3", Gemma3Handler),
        ("gemma", "gemma4v", "gemma4", Gemma4Handler),
        ("smolvlm", "idefics3", "llama", SmolVLMHandler),
        ("internvl", "internvl", "qwen2", InternVLHandler),
        ("pixtral", "pixtral", "llama", PixtralHandler),
        ("lfm2", "lfm2", "lfm2", Lfm2VLHandler),
        (None, None, None, ChatHandler),
    ],
)
def test_the_projector_s_word_finds_the_family(
    name: str | None, projector_type: str | None, architecture: str | None, handler: type[ChatHandler]
) -> None:
    assert choose_family(projector_type, architecture=architecture, word=name).handler is handler
