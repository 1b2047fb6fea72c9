"""Boxes and names on images: where they are, that they stand out, and that nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from ggufvlm.media import Image, load
from ggufvlm.media.pixels.draw import Outline, draw_outlines
from ggufvlm.media.pixels.fonts import font_for


def plain(width: int, height: int, color: tuple[int, int, int] = (120, 130, 140)) -> Image:
    return load(Pillow.new("RGB", (width, height), color))


def pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3).astype(int)


def changed(before: Image, after: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is different; right and bottom are exclusive."""
    rows, columns = np.nonzero(np.abs(pixels(before) - pixels(after)).sum(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_line_lies_on_each_edge_of_the_box() -> None:
    image = plain(800, 600)
    drawn = pixels(draw_outlines(image, [Outline("cat", 200, 150, 500, 400)]))
    color = drawn[399, 350]
    assert (drawn[150, 400] == color).all()
    assert (drawn[300, 200] == color).all()
    assert (drawn[300, 499] == color).all()
    assert (drawn[275, 350] == (120, 130, 140)).all()  # nothing inside
    assert (drawn[300, 510] == (120, 130, 140)).all()  # nothing outside


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (230, 25, 75), (128, 128, 128), (60, 180, 75)])
def test_lines_stand_out_on_any_ground(ground: tuple[int, int, int]) -> None:
    names = [f"thing {number}" for number in range(16)]
    for number, name in enumerate(names):
        outlines = [Outline(other, 0, 0, 2, 2) for other in names[:number]] + [Outline(name, 200, 150, 500, 400)]
        drawn = pixels(draw_outlines(plain(800, 600, ground), outlines))
        band = drawn[300, 485:506]  # across the right edge
        assert np.abs(band - ground).sum(axis=1).max() > 200


def test_names_have_colours_of_their_own_and_keep_them() -> None:
    outlines = [Outline(f"thing {n % 8}", 50 * n + 10, 300, 50 * n + 40, 500) for n in range(16)]
    drawn = pixels(draw_outlines(plain(820, 600), outlines))
    colors = [tuple(drawn[400, 50 * n + 10]) for n in range(16)]
    assert len(set(colors)) == 8
    assert colors[:8] == colors[8:]


def test_names_are_written_and_differ() -> None:
    image = plain(400, 300)
    cat, dog = (draw_outlines(image, [Outline(name, 100, 100, 300, 200)]) for name in ("cat", "dog"))
    assert changed(cat, dog)[3] <= 105  # above the box, and nowhere else
    assert changed(image, cat)[1] < 95


@pytest.mark.parametrize("corner", [(0, 0), (370, 0), (0, 270), (370, 270)])
def test_names_stay_in_the_image(corner: tuple[int, int]) -> None:
    x, y = corner
    image = plain(400, 300)
    small = draw_outlines(image, [Outline("a rather long name", x, y, x + 30, y + 30)])
    # the whole name is there: the same pixels as in the middle of an image
    middle = draw_outlines(image, [Outline("a rather long name", 150, 150, 180, 180)])
    dark = [(pixels(drawn).max(axis=2) > 250).sum() for drawn in (small, middle)]
    assert dark[0] > 0.6 * dark[1]


def test_names_lie_beside_each_other() -> None:
    image = plain(800, 600)
    one = draw_outlines(image, [Outline("first", 300, 300, 500, 400)])
    both = draw_outlines(image, [Outline("first", 300, 300, 500, 400), Outline("second", 302, 301, 502, 401)])
    left, top, right, bottom = 300, 300 - 20, 340, 297
    assert (pixels(one)[top:bottom, left:right] == pixels(both)[top:bottom, left:right]).all()


def test_lines_and_letters_grow_with_the_image() -> None:
    def line_width(side: int) -> int:
        drawn = pixels(draw_outlines(plain(side, side), [Outline("x", side / 4, side / 4, side / 2, side / 2)]))
        row = drawn[3 * side // 8, 3 * side // 8 : 5 * side // 8]
        return int((np.abs(row - (120, 130, 140)).sum(axis=1) > 0).sum())

    assert line_width(500) < line_width(1500) < line_width(3000)


@pytest.mark.parametrize(
    ("width", "height", "growth"), [(24, 16, 14), (1, 1, 16), (319, 200, 2), (320, 200, 1), (40, 900, 4)]
)
def test_small_images_are_made_larger_by_a_whole_number(width: int, height: int, growth: int) -> None:
    drawn = draw_outlines(plain(width, height), [Outline("cat", 0, 0, width, height)])
    assert (drawn.width, drawn.height) == (growth * width, growth * height)


def test_boxes_of_small_images_are_where_they_belong() -> None:
    drawn = pixels(draw_outlines(plain(32, 32), [Outline("x", 8, 16, 24, 24)]))
    assert drawn.shape == (320, 320, 3)
    color = drawn[239, 160]
    assert (drawn[200, 80] == color).all()
    assert (drawn[200, 239] == color).all()
    assert (drawn[200, 160] == (120, 130, 140)).all()


def test_points_are_dots_with_names() -> None:
    image = plain(400, 300)
    drawn = draw_outlines(image, [Outline("eye", 200, 150, 200, 150)])
    assert (pixels(drawn)[150, 200] != (120, 130, 140)).any()
    left, _, right, bottom = changed(image, drawn)
    assert left <= 196
    assert bottom >= 154
    assert right > 215  # the name


def test_names_of_other_alphabets() -> None:
    image = plain(400, 300)
    seen = set()
    for name in ("Straße", "кошка", "γάτα", "naïve café", "猫", "#1", "قطة", "🐱", "\n\t", "", "x" * 500, "\x00"):
        drawn = draw_outlines(image, [Outline(name, 100, 100, 300, 200)])
        assert drawn.rgb != image.rgb
        seen.add(drawn.id)
    assert len(seen) >= 4  # they are not all the same empty boxes


def test_letters_that_no_font_has_become_numbers() -> None:
    unknown = "\U000e0fff\U000f1234"
    assert font_for(unknown, 20) is None
    image = plain(400, 300)
    numbered, unreadable = (draw_outlines(image, [Outline(name, 100, 100, 300, 200)]) for name in ("#1", unknown))
    assert numbered.rgb == unreadable.rgb


def test_an_image_without_boxes_stays_as_it_is() -> None:
    image = plain(400, 300)
    assert draw_outlines(image, []).rgb == image.rgb


corners = st.floats(-50, 700, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 600),
    st.integers(1, 600),
    st.lists(st.tuples(st.text(max_size=30), corners, corners, corners, corners), max_size=8),
)
def test_any_box_can_be_drawn(width: int, height: int, boxes: list[tuple[str, float, float, float, float]]) -> None:
    outlines = [Outline(n, min(a, c), min(b, d), max(a, c), max(b, d)) for n, a, b, c, d in boxes]
    drawn = draw_outlines(plain(width, height), outlines)
    assert drawn.width % width == drawn.height % height == 0
