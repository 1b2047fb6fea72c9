"""Other sizes, other files."""

from __future__ import annotations

import PIL.Image
import pytest

from ggufvlm import media
from ggufvlm.errors import OutputError, UsageError
from tests.support.images import BLUE, RED, halves


def test_resize_is_pillows():
    image = media.Image.from_rgb(64, 64, PIL.Image.effect_noise((64, 64), 90).convert("RGB").tobytes(), "noise.png")
    for name, filter_ in {"bicubic": PIL.Image.Resampling.BICUBIC, "lanczos": PIL.Image.Resampling.LANCZOS}.items():
        small = media.resize(image, 21, 13, name)
        wanted = media.to_pillow(image).resize((21, 13), filter_)
        assert (small.width, small.height) == (21, 13)
        assert small.rgb == wanted.tobytes()
        assert small.source == "noise.png"
        assert small.id != image.id


def test_resize_to_the_same_size_is_the_same():
    image = media.load(halves())
    assert media.resize(image, 40, 20) is image


def test_resize_of_nonsense():
    image = media.load(halves())
    with pytest.raises(ValueError, match="at least one pixel"):
        media.resize(image, 0, 20)
    with pytest.raises(ValueError, match="unknown resampling filter 'cubic', use one of bicubic"):
        media.resize(image, 10, 10, "cubic")


@pytest.mark.parametrize(("width", "height"), [(4, 2), (2, 4), (5, 2), (1, 1)])
def test_pad_to_square(width, height):
    image = media.Image.from_rgb(width, height, bytes(RED) * width * height, "red.png")
    square = media.pad_to_square(image, BLUE)
    side = max(width, height)
    assert (square.width, square.height, square.source) == (side, side, "red.png")
    pixels = media.to_pillow(square)
    left, top = (side - width) // 2, (side - height) // 2
    for y in range(side):
        for x in range(side):
            inside = left <= x < left + width and top <= y < top + height
            assert pixels.getpixel((x, y)) == (RED if inside else BLUE)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".TIFF", ".ppm", ".gif", ".jpg", ".jpeg", ".webp", ".avif"])
def test_save_and_load(tmp_path, ending):
    image = media.load(halves())
    path = tmp_path / f"out{ending}"
    media.save(image, path)
    again = media.load(path)
    assert (again.width, again.height) == (40, 20)
    if ending not in (".jpg", ".jpeg", ".webp", ".avif"):
        assert again.id == image.id


def test_to_png():
    image = media.load(halves())
    data = media.to_png(image)
    assert data.startswith(b"\x89PNG")
    assert media.load(data).id == image.id


def test_save_says_what_it_cannot_do(tmp_path):
    image = media.load(halves())
    with pytest.raises(UsageError, match="cannot write an image with this ending") as caught:
        media.save(image, tmp_path / "out.xyz")
    assert ".png" in caught.value.hint
    with pytest.raises(OutputError, match="cannot be written"):
        media.save(image, tmp_path / "missing" / "out.png")


def test_sixel_draws_the_same_pixels() -> None:
    image = media.load(halves(30, 14))
    drawn = media.to_sixel(image)
    assert drawn.startswith('\x1bP0;1q"1;1;30;14')
    assert drawn.endswith("\x1b\\")
    assert read_sixel(drawn, 30, 14) == image.rgb


def read_sixel(drawn: str, width: int, height: int) -> bytes:
    """What a terminal shows after this sequence."""
    import re

    pixels, palette, color, x, top = bytearray(3 * width * height), {}, 0, 0, 0
    body = drawn[drawn.index('"') :].removesuffix("\x1b\\")
    token = r'"[\d;]+|#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|([$-])'
    for number, red, green, blue, times, sign, move in re.findall(token, body):
        if number:
            color = int(number)
            if red:
                palette[color] = bytes(round(int(part) * 2.55) for part in (red, green, blue))
        elif sign:
            for _ in range(int(times or 1)):
                for row in range(6):
                    if (ord(sign) - 63) >> row & 1:
                        at = 3 * ((top + row) * width + x)
                        pixels[at : at + 3] = palette[color]
                x += 1
        elif move:
            x, top = 0, top + 6 * (move == "-")
    return bytes(pixels)
