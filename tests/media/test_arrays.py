"""What a notebook holds instead of a file: arrays, tensors, open files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ggufvlm.errors import ImageError
from ggufvlm.media import load
from tests.support.images import encode, halves

RGB = np.asarray(halves(6, 4))
GREY = RGB[:, :, 0]
ALPHA = np.concatenate([RGB, np.full((4, 6, 1), 255, np.uint8)], axis=2)


class Tensor:
    """As torch's: it has no shape that numpy knows, and gives an array, if it can."""

    def __init__(self, array: np.ndarray, why_not: str = "") -> None:
        self._array, self._why_not = array, why_not

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        if self._why_not:
            raise TypeError(self._why_not)
        return self._array


SAME = {
    "as it is": RGB,
    "int64": RGB.astype(np.int64),
    "floats of 0..1": RGB / 255,
    "halves of 0..1": (RGB / 255).astype(np.float16),
    "floats of 0..255": RGB.astype(np.float32),
    "16 bit": RGB.astype(np.uint16) * 257,
    "opaque": ALPHA,
    "channels first": np.moveaxis(RGB, 2, 0),
    "opaque, channels first": np.moveaxis(ALPHA, 2, 0),
    "a tensor": Tensor(np.moveaxis(RGB / 255, 2, 0)),
    "not contiguous": np.repeat(RGB, 2, axis=1)[:, ::2],
    "big-endian": RGB.astype(">i4"),
}


@pytest.mark.parametrize("name", SAME)
def test_arrays_that_are_the_same_image(name: str) -> None:
    image = load(SAME[name])  # type: ignore[arg-type]
    assert (image.width, image.height, image.rgb) == (6, 4, RGB.tobytes())
    assert image.source == "<array>"


def test_grey_of_any_shape_is_grey() -> None:
    expected = np.repeat(GREY[:, :, None], 3, axis=2).tobytes()
    with_alpha = np.stack([GREY, np.full_like(GREY, 255)], axis=2)
    for array in (GREY, GREY[:, :, None], GREY[None], with_alpha):
        assert load(array).rgb == expected
    assert load(GREY > 127).rgb == load((GREY > 127) * 255).rgb


def test_what_is_transparent_is_white() -> None:
    assert load(np.zeros((2, 2, 4), np.uint8)).rgb == b"\xff" * 12
    assert load(np.zeros((2, 2, 2))).rgb == b"\xff" * 12


@pytest.mark.parametrize(
    ("array", "words", "hint"),
    [
        (np.zeros(5), "float64 of shape 5 is no image", "height x width"),
        (np.zeros(()), "shape none is no image", "height x width"),
        (np.zeros((2, 4, 4, 3)), "is several images", "x[0]"),
        (np.zeros((0, 4, 3), np.uint8), "holds nothing", ""),
        (np.zeros((5, 5, 7)), "shape 5 x 5 x 7 is no image", "1 to 4"),
        (np.full((4, 4, 3), -1.5), "values from -1.5 to -1.5", "std"),
        (np.full((4, 4, 3), np.nan), "nan", "0..255"),
        (np.full((4, 4, 3), np.inf), "inf", "0..255"),
        (np.full((4, 4, 3), 256, np.int32), "up to 256", "uint16"),
        (np.full((4, 4, 3), 70000, np.uint32), "up to 70000", "uint16"),
        (np.zeros((4, 4, 3), np.complex64), "no numbers of pixels", "uint8"),
        (np.full((4, 4), "a"), "no numbers of pixels", "uint8"),
        (np.full((4, 4), None), "no numbers of pixels", "uint8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rest_is_refused_with_its_shape_and_what_would_help(array: np.ndarray, words: str, hint: str) -> None:
    with pytest.raises(ImageError, match=r"^<array>: ") as caught:
        load(array)
    assert words in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_tensor_on_a_gpu_says_what_to_do() -> None:
    with pytest.raises(ImageError, match="can't convert cuda") as caught:
        load(Tensor(RGB, "can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu()"))
    assert caught.value.hint == "x.detach().cpu()"


def test_too_many_pixels_are_refused_before_they_are_copied() -> None:
    vast = np.broadcast_to(np.uint8(0), (60_000, 60_000, 3))  # no memory behind it
    with pytest.raises(ImageError, match="limit of 268435456 pixels"):
        load(vast)


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        dtype=st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes(max_len=2)),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_an_image_or_our_error(array: np.ndarray) -> None:
    try:
        image = load(array)
    except ImageError:
        return
    assert (image.width * image.height * 3) == len(image.rgb)


def test_open_files_and_views(tmp_path: Path) -> None:
    data = encode(halves(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert load(file).source == str(path)
    expected = load(data).rgb
    assert [load(thing).rgb for thing in (io.BytesIO(data), memoryview(data), bytearray(data))] == [expected] * 3
    with PIL.Image.open(path) as opened:
        assert load(opened).rgb == expected


def test_files_that_are_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(halves(), "PNG"))
    read = io.BytesIO(b"abc")
    read.read()
    closed = io.BytesIO()
    closed.close()
    with path.open("rb") as written, path.open(encoding="latin-1") as text, (tmp_path / "w").open("wb") as writing:
        written.read()
        for file, words in (
            (text, "is open as text"),
            (written, "nothing is left to read"),
            (read, "nothing is left to read"),
            (writing, "cannot be read"),
            (closed, "cannot be read"),
        ):
            with pytest.raises(ImageError, match=words):
                load(file)  # type: ignore[arg-type]
