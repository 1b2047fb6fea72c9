"""Faxes: what a machine stored with fewer rows than columns to the inch is as high as it was on paper."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from ggufvlm.media import load
from ggufvlm.media.decoding.headers import decoded_bytes, decoded_size, header_size
from tests.support.images import encode

TURNED = (5, 6, 7, 8)


def fax(
    image: PIL.Image.Image, across: float, down: float, *, orientation: int = 1, unit: int = 2, kind: str = "raw"
) -> bytes:
    tags = ImageFileDirectory_v2()
    tags[274], tags[282], tags[283], tags[296] = orientation, IFDRational(across), IFDRational(down), unit
    return encode(image, "TIFF", tiffinfo=tags, compression=kind)


def circle(width: int, height: int) -> PIL.Image.Image:
    """A black one, as wide and as high as the image."""
    page = PIL.Image.new("1", (width, height), 1)
    PIL.ImageDraw.Draw(page).ellipse((0, 0, width - 1, height - 1), fill=0)
    return page


@pytest.mark.parametrize("kind", ["raw", "group3", "group4"])
def test_a_circle_on_a_fax_is_round(kind: str) -> None:
    seen = load(fax(circle(204, 98), 204, 98, kind=kind))
    assert (seen.width, seen.height) == (204, 204)
    dark = np.frombuffer(seen.rgb, np.uint8).reshape(204, 204, 3)[:, :, 0] < 128
    assert dark[102].sum() == pytest.approx(204, abs=3)
    assert dark[:, 102].sum() == pytest.approx(204, abs=3)
    assert dark[51].sum() == pytest.approx(dark[:, 51].sum(), abs=4)
    assert not dark[8, 8]


@pytest.mark.parametrize(
    ("across", "down", "size"),
    [
        (204, 98, (60, 83)),  # standard
        (204, 196, (60, 40)),  # fine: nobody sees the difference
        (204, 391, (115, 40)),  # superfine
        (300, 600, (120, 40)),
        (200, 100, (60, 80)),
        (72, 72, (60, 40)),
        (72, 1, (60, 40)),  # a mistake
        (0, 98, (60, 40)),
        (204, 0, (60, 40)),
    ],
)
@pytest.mark.parametrize("unit", [1, 2, 3])
def test_sizes(across: float, down: float, size: tuple[int, int], unit: int) -> None:
    data = fax(PIL.Image.new("L", (60, 40)), across, down, unit=unit)
    seen = load(data)
    assert (seen.width, seen.height) == size == header_size(data) == decoded_size(data, "fax.tif")
    assert decoded_bytes(data, "fax.tif") == len(seen.rgb)


def test_what_lies_on_its_side_is_stretched_as_it_was_stored() -> None:
    data = fax(PIL.Image.new("L", (60, 40)), 200, 100, orientation=6)
    assert header_size(data) == (80, 60)
    assert (load(data).width, load(data).height) == (80, 60)


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    across=st.floats(0, 1e9),
    down=st.floats(0, 1e9),
    orientation=st.integers(1, 8),
)
@settings(deadline=None, max_examples=60)
def test_the_header_says_what_comes_out(size: tuple[int, int], across: float, down: float, orientation: int) -> None:
    data = fax(PIL.Image.new("L", size), across, down, orientation=orientation)
    seen = load(data)
    assert header_size(data) == (seen.width, seen.height)
    width, height = size[::-1] if orientation in TURNED else size
    assert width <= seen.width <= 10 * width + 1
    assert height <= seen.height <= 10 * height + 1
    assert width == seen.width or height == seen.height


def test_a_pillow_image_is_stretched_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fax.tif"
    path.write_bytes(fax(circle(60, 40), 200, 100))
    with PIL.Image.open(path) as opened:
        assert load(opened).id == load(path).id
    assert header_size(path) == (60, 80)


def test_what_would_become_too_large_is_made_shorter_and_not_refused() -> None:
    data = fax(PIL.Image.new("L", (60, 40)), 200, 100)
    seen = load(data, max_pixels=60 * 40)
    assert (seen.width, seen.height) == (30, 40) == decoded_size(data, "fax.tif", 60 * 40)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG"])
def test_other_formats_are_shown_pixel_by_pixel(format_name: str) -> None:
    data = encode(PIL.Image.new("L", (60, 40)), format_name, dpi=(204, 98))
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.info["dpi"][0] > 2 * opened.info["dpi"][1]
    assert (load(data).width, load(data).height) == (60, 40) == header_size(data)
