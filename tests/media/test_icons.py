"""Icons and cursors: transparency may lie in a mask, and the best image may come last."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.headers import header_size
from tests.support.images import encode, halves

ICON, CURSOR = 1, 2
SIDE = 8
WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
PALETTE = [(0, 0, 0), RED, BLUE, WHITE]


def dib(bits: int, alpha: int | None = None) -> bytes:
    """The left half red, the right half blue, and the upper half left out by the mask, or by ``alpha`` below it."""
    rows, mask = b"", b""
    for y in reversed(range(SIDE)):
        hidden = y < SIDE // 2
        colors = [0 if hidden else 1 if x < SIDE // 2 else 2 for x in range(SIDE)]
        if bits <= 8:
            packed = 0
            for color in colors:
                packed = packed << bits | color
            row = packed.to_bytes(SIDE * bits // 8, "big")
        else:
            transparency = b"" if bits == 24 else bytes([(alpha or 0) * (not hidden)])
            row = b"".join(bytes(PALETTE[color][::-1]) + transparency for color in colors)
        rows += row + bytes(-len(row) % 4)
        mask += (b"\0" if alpha or not hidden else b"\xff") + bytes(3)
    palette = b"".join(bytes(color[::-1]) + b"\0" for color in PALETTE) + bytes(4 * ((1 << min(bits, 8)) - 4))
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, 2 * SIDE, 1, bits, 0, 0, 0, 0, 0, 0)
    return head + (palette if bits <= 8 else b"") + rows + mask


def file_of(kind: int, *images: bytes, padding: int = 0) -> bytes:
    """An icon or a cursor with these images; where an icon says its colours, a cursor says where its tip is."""
    entries, bodies, offset = b"", b"", 6 + 16 * len(images)
    for image in images:
        bits = struct.unpack_from("<H", image, 14)[0]
        fields = (1, bits) if kind == ICON else (3, 5)
        body = image + bytes(padding)
        entries += struct.pack("<BBBBHHII", SIDE, SIDE, 0, 0, *fields, len(body), offset)
        bodies, offset = bodies + body, offset + len(body)
    return struct.pack("<HHH", 0, kind, len(images)) + entries + bodies


def pixels(data: bytes) -> list[tuple[int, int, int]]:
    """Of the four corners."""
    seen = decode(data, "icon")
    assert (seen.width, seen.height) == header_size(data) == (SIDE, SIDE)
    places = [0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1]
    return [(seen.rgb[3 * place], seen.rgb[3 * place + 1], seen.rgb[3 * place + 2]) for place in places]


@pytest.mark.parametrize("kind", [ICON, CURSOR])
@pytest.mark.parametrize(("bits", "alpha"), [(4, None), (8, None), (24, None), (32, None), (32, 255)])
@pytest.mark.parametrize("padding", [0, 12])
def test_what_is_left_out_is_white(kind: int, bits: int, alpha: int | None, padding: int) -> None:
    assert pixels(file_of(kind, dib(bits, alpha), padding=padding)) == [WHITE, WHITE, RED, BLUE]


@pytest.mark.parametrize("kind", [ICON, CURSOR])
def test_the_image_of_most_colours_is_seen(kind: int) -> None:
    grey = dib(4).replace(bytes(RED[::-1]), b"\x80\x80\x80").replace(bytes(BLUE[::-1]), b"\x80\x80\x80")
    for images in ((grey, dib(32, 255)), (dib(32, 255), grey)):
        assert pixels(file_of(kind, *images)) == [WHITE, WHITE, RED, BLUE]


def test_formats_keep_their_names() -> None:
    assert decode(file_of(CURSOR, dib(24)), "x").original_format == "CUR"
    assert decode(encode(halves(64, 64), "ICO", sizes=[(64, 64)]), "x").original_format == "ICO"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_an_error_of_ours(data: st.DataObject) -> None:
    damaged = bytearray(file_of(data.draw(st.sampled_from([ICON, CURSOR])), dib(8), dib(32)))
    for place in data.draw(st.lists(st.integers(4, 100), max_size=6)):
        damaged[place] = data.draw(st.sampled_from([0, 1, 2, 8, 127, 128, 255]))
    with contextlib.suppress(ImageError):
        decode(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), "icon", max_pixels=1_000_000)


@pytest.mark.parametrize("kind", [ICON, CURSOR])
def test_pixels_that_do_not_fit_into_the_file_take_no_memory(kind: int) -> None:
    claims = bytearray(file_of(kind, dib(8)))
    claims[26:34] = struct.pack("<II", 12_000, 24_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            decode(bytes(claims), "icon")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [ICON, CURSOR])
@pytest.mark.parametrize("length", [4, 6, 10, 22, 40, 100])
def test_what_is_cut_off_is_told(kind: int, length: int) -> None:
    with pytest.raises(ImageError):
        decode(file_of(kind, dib(24))[:length], "icon")
