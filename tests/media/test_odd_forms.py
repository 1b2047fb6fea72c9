"""Forms of formats that few programs write: the same pixels as were written, or the true reason."""

from __future__ import annotations

import struct

import numpy as np
import PIL.Image
import pytest

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.headers import header_size
from tests.support.images import encode, halves
from tests.support.odd_images import HEIGHT, WIDTH, OddImage, bmp, odd_images, psd, tga

ODD = odd_images()


@pytest.mark.parametrize("odd", ODD, ids=[odd.name for odd in ODD])
def test_an_odd_form_shows_what_was_written(odd: OddImage):
    image = decode(odd.data, odd.name)
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    seen = np.frombuffer(image.rgb, np.uint8).reshape(HEIGHT, WIDTH, 3)
    assert np.abs(seen.astype(int) - odd.pixels).max() <= 1
    assert header_size(odd.data) == (WIDTH, HEIGHT)
    with pytest.raises(ImageError, match=r"is cut off"):
        decode(odd.data[: len(odd.data) - 20], odd.name)


def jpeg_of(marker: int, bits: int = 8, width: int = 40) -> bytes:
    data = bytearray(encode(halves(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, bits
    data[at + 7 : at + 9] = struct.pack(">H", width)
    return bytes(data)


FORMS = {
    "24 bits, run lengths": (
        bmp(bytes(99), 4, 4, 24, kind=4),
        "this form of BMP is not read: 24 bits a pixel, run lengths",
    ),
    "5 bits": (bmp(bytes(99), 4, 4, 5), "this form of BMP is not read: 5 bits a pixel"),
    "indexed": (psd(np.zeros((4, 4, 1), np.uint8), 16, mode=2), "this form of PSD is not read: 16 bits, indexed"),
    "lossless": (jpeg_of(0xC3), "this form of JPEG is not read: lossless"),
    "12 bits": (jpeg_of(0xC1, 12), "this form of JPEG is not read: 12 bits a sample"),
}


@pytest.mark.parametrize(("data", "says"), FORMS.values(), ids=FORMS)
def test_a_form_that_is_not_read_is_named_and_not_called_damaged(data, says):
    with pytest.raises(ImageError) as caught:
        decode(data, "odd")
    assert str(caught.value).startswith(f"odd: {says}")
    assert caught.value.hint == "convert it to PNG or JPEG first"


def test_a_limit_of_a_decoder_is_named_with_its_number():
    with pytest.raises(
        ImageError, match=r"^wide.jpg: beyond a limit of what reads JPEG \(65501x20 pixels.* 65500"
    ) as caught:
        decode(jpeg_of(0xC0, width=65501), "wide.jpg")
    assert caught.value.hint == "scale it down first"


def test_a_damaged_file_is_called_so():
    data = bytearray(encode(PIL.Image.effect_noise((64, 64), 90), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"^a.png: damaged PNG") as caught:
        decode(bytes(data), "a.png")
    assert caught.value.hint == "copy or download it again"


def test_a_mask_of_four_bits_with_an_alpha_that_nobody_filled_is_opaque():
    data = bmp(
        struct.pack("<2H", 0x0F00, 0x00F0), 2, 1, 16, kind=6, fields=struct.pack("<4I", 0xF00, 0xF0, 0xF, 0xF000)
    )
    assert decode(data, "a.bmp").rgb == bytes([255, 0, 0, 0, 255, 0])


def test_random_bytes_with_the_head_of_an_odd_form_are_an_image_or_one_line():
    rng, errors = np.random.default_rng(11), []
    for odd in ODD:
        for _ in range(6):
            data = bytearray(odd.data)
            for place in rng.integers(0, min(150, len(data)), 4):
                data[place] = rng.integers(0, 256)
            try:
                decode(bytes(data), "odd", max_pixels=1_000_000)
            except ImageError as error:
                errors.append(str(error))
    assert errors
    assert [error for error in errors if not error.startswith("odd: ") or "\n" in error] == []


def test_a_tga_with_an_alpha_channel_keeps_it():
    rows = np.array([[[0, 0, 255, 255], [0, 0, 0, 0]]], np.uint8)
    assert decode(tga(rows, 2, 32, is_packed=True), "a.tga").rgb == bytes([255, 0, 0, 255, 255, 255])
