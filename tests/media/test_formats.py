"""What a file is, told from its first bytes, in time that grows with their number and no faster."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.media.decoding.formats import foreign_kind
from ggufvlm.media.decoding.kinds import FileKind, kind_of

PROLOGUE = st.lists(
    st.sampled_from([b" ", b"\n", b"<?xml version='1.0'?>", b"<!---->", b"<!-- a > b -->", b"<!DOCTYPE svg PUBLIC>"]),
    max_size=30,
).map(b"".join)


@given(PROLOGUE)
def test_markup_is_known_behind_any_prologue(prologue: bytes) -> None:
    assert (foreign_kind(prologue + b"<svg width='3'>") or ("", ""))[0] == "an SVG drawing, not an image"
    if b"DOCTYPE" not in prologue:
        assert (foreign_kind(prologue + b"<HTML>") or ("", ""))[0] == "a web page (HTML), not an image"
    assert foreign_kind(prologue + b"<svgx>") is None
    assert foreign_kind(prologue) is None


@given(st.binary(max_size=64), st.sampled_from([b"<!---->", b"<!--", b"<?xml >", b" ", b"<!doctype svg>", b"<!-- -->"]))
def test_any_bytes_are_looked_at_once(tail: bytes, piece: bytes) -> None:
    foreign_kind((piece * 1000)[:2000] + tail)


@pytest.mark.parametrize("piece", [b"<!---->", b"<?xml >", b"<!-- --> ", b"<?xml><!---->"])
def test_a_few_comments_in_a_row_stop_nobody(piece: bytes) -> None:
    """In a process of its own: a pattern that never ends holds the interpreter, and with it pytest's own clock."""
    code = "import sys; from ggufvlm.media.decoding.formats import foreign_kind; foreign_kind(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], input=(piece * 600)[:2048], check=True, timeout=60)


BRANDS = b"isom iso6 mp42 XAVC NDSC niko pana CAEP M4VH dby1 piff KDDI isml qt   3gp4 dash f4v  MSNV abcd".split()
STREAM = [b"\x47" + bytes([n % 251 + 1]) * 187 for n in range(12)]


@pytest.mark.parametrize("brand", BRANDS)
def test_any_brand_that_is_no_image_s_is_a_video(brand: bytes) -> None:
    assert kind_of(b"\0\0\0\x18ftyp" + brand.ljust(4) + bytes(40)) is FileKind.VIDEO


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mif1", b"jxl ", b"crx "])
def test_brands_of_images_are_images(brand: bytes) -> None:
    assert kind_of(b"\0\0\0\x18ftyp" + brand + bytes(40)) is FileKind.IMAGE


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x14pnot" + bytes(12),
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\0\0\0\x08skip" + bytes(8),
        b"\0\0\0\x08free" + bytes(8),
        b"\x0b\xeb\xc2\x10mdat\0\0\x01\x65" + b"\x9c" * 99,  # 200 MB of frames come first
        b"".join(STREAM),
        b"".join(STREAM)[100:],
        b"".join(b"time" + packet for packet in STREAM),
        b"".join(b"time" + packet for packet in STREAM)[77:],
        b"".join(packet + bytes(16) for packet in STREAM),
        b"\x1a\x45\xdf\xa3" + bytes(40),
    ],
)
def test_videos_without_a_brand(head: bytes) -> None:
    assert kind_of(head) is FileKind.VIDEO


@pytest.mark.parametrize(
    "head", [b"Carefree days", b"G" * 4000, b"GIF89a" + bytes(900), b"", b"\0", b"\x47" * 100, b"\x89PNG" + bytes(2000)]
)
def test_what_is_no_video(head: bytes) -> None:
    assert kind_of(head) is FileKind.IMAGE


@given(st.binary(max_size=4096))
def test_random_bytes_have_a_kind(head: bytes) -> None:
    assert kind_of(head) in FileKind
