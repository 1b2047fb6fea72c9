"""AVIF whose container asks for a part of the image: that part is seen, also where the image is turned."""

from __future__ import annotations

import struct

import PIL.features
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.media.decoding.clean_aperture import clean_aperture
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.headers import header_size
from tests.support.images import encode, halves

pytestmark = pytest.mark.skipif(not PIL.features.check("avif"), reason="this Pillow reads no AVIF")
WIDTH, HEIGHT = 320, 280
WHOLE = (WIDTH, 1, HEIGHT, 1, 0, 1, 0, 1)


def avif(clap: tuple[int, ...] | None = None, **options: object) -> bytes:
    """An AVIF with this clean aperture: a property behind the others, which the image has first."""
    data = bytearray(encode(halves(WIDTH, HEIGHT), "AVIF", quality=90, **options))
    if clap is None:
        return bytes(data)
    box = struct.pack(">I4s8I", 40, b"clap", *(number & 0xFFFFFFFF for number in clap))
    container = data.index(b"ipco") - 4
    end = container + int.from_bytes(data[container : container + 4], "big")
    number, at = 0, container + 8
    while at < end:
        number, at = number + 1, at + int.from_bytes(data[at : at + 4], "big")
    associations = data.index(b"ipma") - 4
    count = associations + 8 + 4 + 4 + 2  # behind version and flags, the number of items and the item
    assert data[associations + 8 : associations + 12] == bytes(4), "short numbers are expected here"
    data[count] += 1
    data[count + 1 : count + 1] = bytes([0x80 | (number + 1)])
    data[end:end] = box
    for name, growth in ((b"ipco", 40), (b"iprp", 41), (b"ipma", 1), (b"meta", 41)):
        place = data.index(name) - 4
        data[place : place + 4] = struct.pack(">I", int.from_bytes(data[place : place + 4], "big") + growth)
    # the image's own bytes have moved: extents of one item, as Pillow writes them
    extent = data.index(b"iloc") + 4
    assert data[extent] == 0
    assert data[extent + 4 : extent + 6] == b"\x44\x00"
    for item in range(int.from_bytes(data[extent + 6 : extent + 8], "big")):
        place = extent + 8 + item * 14 + 6
        data[place : place + 4] = struct.pack(">I", int.from_bytes(data[place : place + 4], "big") + 41)
    return bytes(data)


@pytest.mark.parametrize(
    ("clap", "box"),
    [
        ((180, 1, 100, 1, 0, 1, 0, 1), (70, 90, 250, 190)),
        ((180, 1, 100, 1, -70, 1, -90, 1), (0, 0, 180, 100)),
        ((180, 1, 100, 1, 70, 1, 90, 1), (140, 180, 320, 280)),
        ((161, 1, 100, 1, -159, 2, 0, 1), (0, 90, 161, 190)),
    ],
)
def test_the_part_is_seen(clap: tuple[int, ...], box: tuple[int, int, int, int]) -> None:
    data, whole = avif(clap), decode(avif(), "whole")
    seen = decode(data, "part")
    assert (seen.width, seen.height) == header_size(data) == (box[2] - box[0], box[3] - box[1])
    rows = [whole.rgb[3 * (y * WIDTH + box[0]) : 3 * (y * WIDTH + box[2])] for y in range(box[1], box[3])]
    assert seen.rgb == b"".join(rows)


def test_it_is_cropped_before_it_is_turned() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data = avif((100, 1, 40, 1, -110, 1, -120, 1), exif=exif)
    seen = decode(data, "part")
    assert (seen.width, seen.height) == header_size(data) == (40, 100)
    red, green, _ = seen.rgb[:3]
    assert (red > 200, green > 200) == (False, True)  # the band along the top, which stands at the right side now


@pytest.mark.parametrize(
    "clap", [(0, 1, 100, 1, 0, 1, 0, 1), (180, 0, 100, 1, 0, 1, 0, 1), (180, 1, 100, 1, 900, 1, 0, 1), WHOLE]
)
def test_what_makes_no_sense_is_left_out(clap: tuple[int, ...]) -> None:
    seen = decode(avif(clap), "whole")
    assert (seen.width, seen.height) == (WIDTH, HEIGHT)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_boxes_raise_nothing(data: st.DataObject) -> None:
    damaged = bytearray(_CROPPED)
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8)):
        damaged[place] = data.draw(st.sampled_from([0, 1, 2, 255]))
    box = clean_aperture(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), WIDTH, HEIGHT)
    assert box is None or (0 <= box[0] < box[2] <= WIDTH and 0 <= box[1] < box[3] <= HEIGHT)


_CROPPED = avif((180, 1, 100, 1, 0, 1, 0, 1))[:600] if PIL.features.check("avif") else b""
