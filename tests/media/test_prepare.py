from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.media import Image, ImagePlan, load, prepare, resize
from ggufvlm.media.pixels.prepare import MAX_SQUARE, roll_patches
from tests.support.llava_files import noise


def test_a_long_strip_does_not_become_a_huge_square() -> None:
    strip = Image.from_rgb(4 * MAX_SQUARE, 2, bytes(4 * MAX_SQUARE * 2 * 3), "strip")
    prepared = prepare(strip, ImagePlan(width=28, height=28, pad_color=(255, 255, 255)))
    assert (prepared.width, prepared.height) == (28, 28)


def test_everything_that_changes_the_pixels_is_in_the_plan_s_id() -> None:
    plans = [
        ImagePlan(width=28, height=28, pad_color=pad, roll_patch=roll, resample=resample, by_way_of=before)
        for pad in (None, (1, 2, 3), (1, 2, 4))
        for roll in (None, 7, 14)
        for resample in ("bicubic", "bilinear")
        for before in (None, (20, 20), (28, 20))
    ]
    assert len({plan.id for plan in plans}) == len(plans)
    assert ImagePlan(width=28, height=14).id == "28x14"


def test_the_plan_s_filter_is_used() -> None:
    image = load(noise(40, 30))
    for resample in ("bicubic", "bilinear"):
        plan = ImagePlan(width=20, height=20, resample=resample)
        assert prepare(image, plan).rgb == resize(image, 20, 20, resample).rgb
        twice = ImagePlan(width=20, height=20, by_way_of=(60, 10), resample=resample)
        assert prepare(image, twice).rgb == resize(resize(image, 60, 10, resample), 20, 20, resample).rgb


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(-30, 30))
def test_rolled_patches_can_be_rolled_back(rows: int, columns: int, patch: int, step: int) -> None:
    image = load(noise(columns * patch, rows * patch))
    rolled = roll_patches(image, patch, step)
    assert roll_patches(rolled, patch, -step).rgb == image.rgb
    before, after = (np.frombuffer(one.rgb, np.uint8).reshape(rows * patch, -1, 3) for one in (image, rolled))
    for slot in range(rows * columns):
        y, x = (patch * side for side in divmod(slot, columns))
        from_y, from_x = (patch * side for side in divmod((slot - step) % (rows * columns), columns))
        shown, expected = after[y : y + patch, x : x + patch], before[from_y : from_y + patch, from_x : from_x + patch]
        assert (shown == expected).all()


def test_only_whole_patches_can_be_rolled() -> None:
    with pytest.raises(ValueError, match="whole patches of 14"):
        roll_patches(load(noise(28, 27)), 14)
