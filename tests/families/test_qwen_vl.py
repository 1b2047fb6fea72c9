from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.errors import ImageError
from ggufvlm.families.base import ModelFacts
from ggufvlm.families.qwen_vl import QwenVLHandler, smart_resize

SIDES = st.integers(1, 6000)

# (width, height) -> (width, height), computed with Transformers' smart_resize, factor 28, 3,136 to 1,003,520 pixels
REFERENCE = {
    (448, 448): (448, 448),
    (100, 130): (112, 140),
    (1200, 800): (1204, 812),
    (4032, 3024): (1148, 840),
    (29, 29): (56, 56),
    (1000, 30): (1008, 28),
    (3000, 200): (2996, 196),
}


@pytest.mark.parametrize("size", REFERENCE)
def test_sizes_of_the_reference(size: tuple[int, int]) -> None:
    assert smart_resize(*size, factor=28, min_pixels=56 * 56, max_pixels=28 * 28 * 1280) == REFERENCE[size]


@given(SIDES, SIDES, st.sampled_from([28, 32]), st.integers(1, 64), st.integers(256, 4096))
def test_sides_lie_on_the_grid_and_the_area_within_the_budget(
    width: int, height: int, factor: int, low: int, high: int
) -> None:
    if max(width, height) > 200 * min(width, height):
        return
    w, h = smart_resize(width, height, factor=factor, min_pixels=low * factor**2, max_pixels=high * factor**2)
    assert w % factor == h % factor == 0
    assert w >= factor
    assert h >= factor
    # a side is never cut below one token, so only an image of one row or column can exceed the budget
    assert w * h <= high * factor**2 or min(w, h) == factor


@given(SIDES, SIDES)
def test_a_size_on_the_grid_and_within_the_budget_stays(columns: int, rows: int) -> None:
    width, height = 28 * (columns % 40 + 1), 28 * (rows % 25 + 1)
    assert smart_resize(width, height, factor=28, min_pixels=1, max_pixels=28 * 28 * 1000) == (width, height)


def test_a_strip_is_refused_with_a_way_out() -> None:
    with pytest.raises(ImageError, match="5000x10 is too narrow") as caught:
        smart_resize(5000, 10, factor=28, min_pixels=1, max_pixels=10**6)
    assert "crop" in (caught.value.hint or "")


def test_the_budget_is_the_user_s_and_1024_tokens_otherwise() -> None:
    def tokens(**facts: int) -> int:
        width, height = QwenVLHandler(ModelFacts(patch_size=14, merge_size=2, **facts)).target_size(4000, 3000)
        return width * height // 28**2

    assert 900 < tokens() <= 1024
    assert 200 < tokens(image_max_tokens=256) <= 256
    assert tokens(image_min_tokens=2000) <= 2000
    assert tokens(image_max_tokens=8000) > 7000
