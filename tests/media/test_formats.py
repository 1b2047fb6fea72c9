"""What a file is, told from its first bytes, in time that grows with their number and no faster."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.media.decoding.formats import foreign_kind

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
