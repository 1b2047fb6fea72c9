"""PNG files with trouble beside the image are shown, as a browser shows them; trouble in the image is told."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import PngImagePlugin

from ggufvlm.errors import ImageError
from ggufvlm.media import load
from ggufvlm.media.decoding.png_chunks import without_trouble
from tests.support.images import encode, halves

PNG = encode(halves(40, 20), "PNG")
IMAGE = load(PNG)
LARGE = b"x" * 3_000_000


def chunk(kind: bytes, body: bytes, *, wrong: bool = False) -> bytes:
    checksum = zlib.crc32(kind + body) ^ int(wrong)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


TROUBLE = {
    "a large packed text": chunk(b"zTXt", b"prompt\0\0" + zlib.compress(LARGE)),
    "a large packed international text": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LARGE)),
    "a large text": chunk(b"tEXt", b"prompt\0" + LARGE),
    "a large profile": chunk(b"iCCP", b"ICC\0\0" + zlib.compress(LARGE)),
    "a profile packed in an unknown way": chunk(b"iCCP", b"ICC\0\7" + b"abc"),
    "a text packed in an unknown way": chunk(b"zTXt", b"prompt\0\7abc"),
    "a text that is no zlib": chunk(b"zTXt", b"prompt\0\0abc"),
    "a text without its end": chunk(b"iTXt", b"prompt\0\1"),
    "a wrong checksum of a text": chunk(b"tEXt", b"Comment\0hello", wrong=True),
    "a wrong checksum of a time": chunk(b"tIME", bytes(7), wrong=True),
    "a wrong checksum of a private chunk": chunk(b"teSt", b"abc", wrong=True),
    "a short profile": chunk(b"iCCP", b""),
}


def with_chunk(extra: bytes, *, last: bool) -> bytes:
    at = len(PNG) - 12 if last else 33  # before IEND, behind IHDR
    return PNG[:at] + extra + PNG[at:]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_beside_the_image_is_passed_over(name: str, last: bool) -> None:
    assert load(with_chunk(TROUBLE[name], last=last)).id == IMAGE.id


def test_many_texts_are_too_many_together() -> None:
    texts = b"".join(chunk(b"zTXt", b"t%d\0\0" % n + zlib.compress(LARGE[:900_000])) for n in range(90))
    assert load(with_chunk(texts, last=False)).id == IMAGE.id


def test_an_orientation_in_a_text_still_counts() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * 1000)
    data = encode(
        halves(40, 20), "PNG", pnginfo=info, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    )
    assert (load(data).width, load(data).height) == (20, 40)
    assert without_trouble(data) == data


def test_trouble_in_the_image_is_told() -> None:
    at = PNG.index(b"IDAT")
    with pytest.raises(ImageError):
        load(PNG[: at + 8] + bytes([PNG[at + 8] ^ 255]) + PNG[at + 9 :])


@given(st.binary(max_size=200))
def test_anything_else_comes_back_as_it_is(data: bytes) -> None:
    assert without_trouble(data) == data
    assert len(without_trouble(PNG[:8] + data)) <= 8 + len(data)


def test_flipped_bits_end_in_an_image_or_an_error() -> None:
    choose = random.Random(1)
    whole = with_chunk(b"".join(TROUBLE[name] for name in TROUBLE if "large" not in name), last=False)
    for _ in range(300):
        data = bytearray(whole)
        data[choose.randrange(8, len(data))] ^= 1 << choose.randrange(8)
        try:
            image = load(bytes(data))
        except ImageError:
            continue
        assert np.frombuffer(image.rgb, np.uint8).size == image.width * image.height * 3
