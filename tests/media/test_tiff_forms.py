"""TIFF that Pillow has no decoder for: through tifffile, or with its form and the extra named."""

from __future__ import annotations

import io
import sys

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.headers import header_size
from tests.support.odd_images import HEIGHT, WIDTH, noise


def tiff(samples: NDArray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **{"metadata": None, "software": False, **options})
    return file.getvalue()


def seen(data: bytes) -> NDArray[np.uint8]:
    image = decode(data, "a.tif")
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


PIXELS = noise(2)
GREY = np.repeat(PIXELS[..., :1], 3, axis=2)
UNIT = (PIXELS / 255).astype(np.float32)
FORMS = {
    "floats from 0 to 1": tiff(UNIT, photometric="rgb"),
    "floats from 0 to 255": tiff(PIXELS.astype(np.float32), photometric="rgb"),
    "half floats": tiff(UNIT.astype(np.float16), photometric="rgb"),
    "doubles, LZW": tiff(UNIT.astype(np.float64), photometric="rgb", compression="lzw"),
    "floats, Deflate, predictor": tiff(UNIT, photometric="rgb", compression="zlib", predictor=True),
    "floats in planes": tiff(np.moveaxis(UNIT, -1, 0), photometric="rgb", planarconfig="separate"),
    "floats in tiles": tiff(UNIT, photometric="rgb", tile=(16, 16)),
    "floats with alpha": tiff(
        np.concatenate([UNIT, np.ones_like(UNIT[..., :1])], axis=2), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "32-bit numbers": tiff(PIXELS.astype(np.uint32) * 0x01010101, photometric="rgb"),
    "big-endian BigTIFF": tiff(PIXELS, photometric="rgb", bigtiff=True, byteorder=">"),
    "big-endian BigTIFF, 16 bits, LZW": tiff(
        PIXELS.astype(np.uint16) * 257, photometric="rgb", bigtiff=True, byteorder=">", compression="lzw"
    ),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_an_odd_tiff_shows_what_was_written(data):
    assert np.abs(seen(data).astype(int) - PIXELS).max() <= 1
    assert header_size(data) == (WIDTH, HEIGHT)
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        decode(data[: len(data) // 2], "a.tif")


def test_a_grey_big_endian_bigtiff_with_white_at_zero():
    data = tiff(255 - PIXELS[..., 0], photometric="miniswhite", bigtiff=True, byteorder=">")
    assert np.array_equal(seen(data), GREY)


@pytest.mark.parametrize("bits", [16, 32])
def test_lab_of_more_than_8_bits(bits):
    """The same colours as Lab of 8 bits, which Pillow reads."""
    rng = np.random.default_rng(3)
    light, ab = rng.integers(30, 220, (9, 9, 1)), rng.integers(-40, 40, (9, 9, 2))
    short = np.concatenate([light, ab], axis=2).astype(np.int8).view(np.uint8)
    if bits == 16:
        wide = np.concatenate([light * 257, ab * 256], axis=2).astype(np.int16).view(np.uint16)
    else:
        wide = np.concatenate([light / 2.55, ab], axis=2).astype(np.float32)
    assert (
        np.abs(seen(tiff(wide, photometric="cielab")).astype(int) - seen(tiff(short, photometric="cielab"))).max() <= 1
    )


def test_it_is_turned_as_its_tag_says():
    data = tiff(UNIT, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert header_size(data) == (HEIGHT, WIDTH)
    assert np.abs(seen(data).astype(int) - np.rot90(PIXELS, -1)).max() <= 1


def test_a_thumbnail_in_front_is_passed():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(UNIT[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(UNIT, photometric="rgb")
    assert np.abs(seen(file.getvalue()).astype(int) - PIXELS).max() <= 1


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (FORMS["doubles, LZW"], "3 samples of 64-bit floating point, LZW"),
        (FORMS["big-endian BigTIFF"], "3 samples of 8-bit numbers, big-endian BigTIFF"),
    ],
)
def test_without_the_extra_the_form_and_the_extra_are_named(data, form, monkeypatch):
    monkeypatch.setattr("ggufvlm.media.decoding.tiff_forms.find_spec", lambda _name: None)
    with pytest.raises(ImageError) as caught:
        decode(data, "a.tif")
    assert str(caught.value) == f"a.tif: this form of TIFF is not read: {form}; optional packages do"
    assert caught.value.hint == "pip install 'ggufvlm[formats]'"


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (tiff(UNIT.astype(np.complex64), photometric="rgb"), "3 samples of 64-bit complex floating point"),
        (tiff(UNIT, photometric="rgb", compression="lerc"), "3 samples of 32-bit floating point, LERC"),
    ],
)
def test_what_nothing_reads_is_named(data, form):
    with pytest.raises(ImageError) as caught:
        decode(data, "a.tif")
    assert str(caught.value) == f"a.tif: this form of TIFF is not read: {form}"
    assert caught.value.hint == "convert it to PNG or JPEG first"


def test_what_tifffile_says_stays_out_of_stderr(capfd):
    decode(FORMS["floats in tiles"], "a.tif")
    assert capfd.readouterr().err == ""


def test_changed_files_are_an_image_or_one_line():
    rng, errors = np.random.default_rng(7), []
    for data in FORMS.values():
        for _ in range(25):
            changed = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), 3):
                changed[place] = rng.integers(0, 256)
            try:
                decode(bytes(changed), "a.tif", max_pixels=1_000_000)
            except ImageError as error:
                errors.append(str(error))
    assert errors
    assert [error for error in errors if not error.startswith("a.tif: ") or "\n" in error] == []


def test_a_usual_tiff_needs_no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(file, "TIFF")
    assert np.array_equal(seen(file.getvalue()), PIXELS)
