"""Coordinates go from the image to what a model writes and back, whatever was done to the image in between."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from ggufvlm.families import ModelFacts
from ggufvlm.families.convention import Convention
from ggufvlm.families.gemma import Gemma3Handler
from ggufvlm.families.internvl import InternVLHandler
from ggufvlm.families.llava import LlavaHandler
from ggufvlm.families.qwen_vl import Qwen3VLHandler, QwenVLHandler
from ggufvlm.families.registry import CONVENTIONS
from ggufvlm.families.smolvlm import SmolVLMHandler
from ggufvlm.grounding.letterbox import Grid, canvas_size, letterbox
from ggufvlm.grounding.places import Box, Mark, Point, canvas_of, place, written
from ggufvlm.grounding.view import View, of_plan, whole
from ggufvlm.media import ImagePlan, load, prepare

HANDLERS = (
    QwenVLHandler(ModelFacts(merge_size=2)),
    QwenVLHandler(ModelFacts(merge_size=2, image_min_tokens=1024, image_max_tokens=1280)),
    Qwen3VLHandler(ModelFacts(patch_size=16, merge_size=2)),
    InternVLHandler(ModelFacts(patch_size=14, merge_size=2, image_size=448)),
    Gemma3Handler(ModelFacts()),
    SmolVLMHandler(ModelFacts(image_size=512)),
    LlavaHandler(ModelFacts(square=336, pad_color=(122, 116, 104))),
)
sides = st.integers(16, 2500)
conventions = st.sampled_from(list(CONVENTIONS.values()))


@st.composite
def views(draw: st.DrawFn) -> View:
    """What a family's handler, or libmtmd's letterbox, makes of an image of random size."""
    width, height = draw(sides), draw(sides)
    handler = draw(st.sampled_from([None, *HANDLERS]))
    if handler is None:
        step = draw(st.sampled_from([28, 32, 48]))
        grid = Grid(step, 8 * step * step, draw(st.sampled_from([256, 1024, 4096])) * step * step)
        return letterbox(width, height, canvas_size(width, height, grid))
    return of_plan(width, height, handler.image_plan(width, height))


@st.composite
def rectangles(draw: st.DrawFn, width: int, height: int) -> tuple[int, int, int, int]:
    """Corners inside an image, at least two pixels apart."""
    x0, y0 = draw(st.integers(0, width - 3)), draw(st.integers(0, height - 3))
    return x0, y0, draw(st.integers(x0 + 2, width)), draw(st.integers(y0 + 2, height))


def tell(corners: tuple[float, ...], convention: Convention, view: View) -> tuple[float, ...]:
    """What a perfect model would write."""
    first, second = (written(*corners[at : at + 2], convention, view) for at in (0, 2))
    return (*first, *second)


def read(numbers: tuple[float, ...], convention: Convention, view: View) -> Box:
    placed = place(Mark("cat", numbers), convention, view, "cat")
    assert placed is not None
    assert not placed.was_clipped
    assert isinstance(placed.place, Box)
    return placed.place


def corners_of(box: Box) -> tuple[float, ...]:
    return box.x0, box.y0, box.x1, box.y1


def half_a_unit(convention: Convention, view: View) -> float:
    """By how many pixels of the image a number may be off that is written without fractions."""
    canvas = canvas_of(convention, view)
    scale_x, scale_y = view.image_width / canvas.shown_width, view.image_height / canvas.shown_height
    if convention.scale is None:
        return 0.5 * max(scale_x, scale_y)
    if convention.scale == 1:
        return 0.0
    return 0.5 / convention.scale * max(canvas.width * scale_x, canvas.height * scale_y)


@settings(deadline=None)
@given(views(), conventions, st.data())
def test_there_and_back(view: View, convention: Convention, data: st.DataObject) -> None:
    corners = data.draw(rectangles(view.image_width, view.image_height))
    found = corners_of(read(tell(corners, convention, view), convention, view))
    assert found == pytest.approx(corners, abs=1e-6)


@settings(deadline=None)
@given(views(), conventions, st.data())
def test_whole_numbers_are_off_by_less_than_a_pixel_or_half_a_unit(
    view: View, convention: Convention, data: st.DataObject
) -> None:
    corners = data.draw(rectangles(view.image_width, view.image_height))
    numbers = tell(corners, convention, view)
    if convention.scale != 1:
        numbers = tuple(float(round(number)) for number in numbers)
    error = half_a_unit(convention, view)
    placed = place(Mark("cat", numbers), convention, view, "cat")
    if placed is None:  # smaller than a unit of the scale
        assert min(corners[2] - corners[0], corners[3] - corners[1]) <= 2 * error + 0.5
        return
    assert isinstance(placed.place, Box)
    assert corners_of(placed.place) == pytest.approx(corners, abs=max(1.0, error + 1e-6))


def stored(image: Pillow.Image, orientation: int) -> bytes:
    """A file that shows the image when it is turned as its EXIF entry says."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # numbers of Pillow's Transpose that undo each orientation
    turned = image if orientation == 1 else image.transpose(Pillow.Transpose(back[orientation]))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    return file.getvalue()


def bright(pixels: np.ndarray) -> tuple[int, ...]:
    """Left, top, right, bottom of what is brighter than half; right and bottom are exclusive."""
    rows, columns = np.nonzero(pixels[:, :, 0] > 127)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def pixels_of(image: object) -> np.ndarray:
    image = load(image)  # type: ignore[arg-type]
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 400), st.integers(40, 400), st.integers(1, 8), st.sampled_from(HANDLERS), st.data())
def test_through_exif_and_the_resize_that_is_really_done(
    width: int, height: int, orientation: int, handler: QwenVLHandler, data: st.DataObject
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 20)), data.draw(st.integers(0, height - 20))
    x1, y1 = data.draw(st.integers(x0 + 16, width)), data.draw(st.integers(y0 + 16, height))
    drawn = np.zeros((height, width, 3), np.uint8)
    drawn[y0:y1, x0:x1] = 255
    file = stored(Pillow.fromarray(drawn), orientation)
    assert bright(pixels_of(file)) == (x0, y0, x1, y1)

    plan = handler.image_plan(width, height)
    view = of_plan(width, height, plan)
    ground = None if plan.pad_color is None else (0, 0, 0)
    plan = ImagePlan(width=plan.width, height=plan.height, by_way_of=plan.by_way_of, pad_color=ground)
    seen = bright(pixels_of(prepare(load(file), plan)))
    for convention in CONVENTIONS.values():
        if convention.frame == "seen":
            canvas = whole(int(view.width), int(view.height))
            numbers = tell(tuple(map(float, seen)), convention, canvas)
            placed = place(Mark("cat", numbers), convention, view, "cat")
            assert placed is not None
            assert isinstance(placed.place, Box)
            pixel = max(1.0, view.image_width / view.shown_width, view.image_height / view.shown_height)
            assert corners_of(placed.place) == pytest.approx((x0, y0, x1, y1), abs=pixel + 1e-6)


SEEN = View(image_width=200, image_height=100, width=400, height=400, top=100, shown_width=400, shown_height=200)


def test_a_known_case_by_hand() -> None:
    # the lower right quarter of the image, on a canvas with bars above and below
    expected = (100.0, 50.0, 200.0, 100.0)
    for name, numbers in {
        "qwen3_rel1000": (500, 500, 1000, 750),
        "gemini_yx1000": (500, 500, 750, 1000),
        "qwen25_abs_px": (200, 200, 400, 300),
        "json_rel1": (0.5, 0.5, 1.0, 0.75),
        "doctags": (250, 250, 500, 375),
        "deepseek_det999": (499.5, 499.5, 999, 999),  # of the image itself, whatever was padded
    }.items():
        box = read(tuple(map(float, numbers)), CONVENTIONS[name], SEEN)
        assert corners_of(box) == pytest.approx(expected), name


def test_corners_may_be_swapped() -> None:
    convention = CONVENTIONS["qwen3_rel1000"]
    square = whole(100, 100)
    expected = Box("cat", 10, 20, 30, 40)
    for numbers in ((100, 200, 300, 400), (300, 400, 100, 200), (300, 200, 100, 400), (100, 400, 300, 200)):
        assert read(tuple(map(float, numbers)), convention, square) == expected


@pytest.mark.parametrize(
    ("numbers", "expected", "was_clipped"),
    [
        ((-100, 0, 500, 500), (0, 0, 50, 50), True),
        ((500, 500, 1200, 5000), (50, 50, 100, 100), True),
        ((500, 500, 1005, 1000), (50, 50, 100, 100), False),
        ((1100, 0, 1200, 500), None, False),
        ((0, -300, 500, -100), None, False),
        ((100, 100, 100, 500), None, False),
        ((100, 100, 103, 500), None, False),
        ((math.nan, 0, 500, 500), None, False),
        ((0, 0, 500, math.inf), None, False),
        ((0, 0, 500), None, False),
    ],
)
def test_what_lies_outside(numbers: tuple[float, ...], expected: tuple[float, ...] | None, was_clipped: bool) -> None:
    placed = place(Mark("cat", numbers), CONVENTIONS["qwen3_rel1000"], whole(100, 100), "cat")
    if expected is None:
        assert placed is None
        return
    assert placed is not None
    assert isinstance(placed.place, Box)
    assert corners_of(placed.place) == pytest.approx(expected)
    assert placed.was_clipped is was_clipped


def test_points() -> None:
    placed = place(Mark("cat", (250.0, 500.0)), CONVENTIONS["gemini_yx1000"], whole(100, 200), "cat")
    assert placed is not None
    assert placed.place == Point("cat", 50, 50)


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=4, max_size=4), conventions, views())
def test_no_numbers_are_too_odd(numbers: list[float], convention: Convention, view: View) -> None:
    placed = place(Mark("cat", tuple(numbers)), convention, view, "cat")
    if placed is not None:
        assert isinstance(placed.place, Box)
        assert 0 <= placed.place.x0 < placed.place.x1 <= view.image_width
        assert 0 <= placed.place.y0 < placed.place.y1 <= view.image_height
