"""Bodies of requests, read without a server: JSON of any content type, images as text."""

from __future__ import annotations

import base64
import contextlib
import json
import textwrap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.server.http.json_body import read_object
from ggufvlm.server.ollama.body import images_of

_halves = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
_texts = st.text(st.characters() | _halves, max_size=12)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(_texts, _json, max_size=4), st.booleans())
@settings(deadline=None)
def test_what_was_read_can_be_written(body: dict[str, Any], escaped: bool) -> None:
    """Half a character becomes one that stands for it, and everything else stays as it was."""
    written = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    text = json.dumps(read_object(written), ensure_ascii=False).encode().decode()
    whole = json.dumps(json.loads(written), ensure_ascii=False).translate(
        dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
    )
    assert json.loads(text) == json.loads(whole)


@pytest.mark.parametrize("written", [rb"a\ud800b", b"a\xed\xa0\x80b", rb"a\udfffb", b"a\xed\xbf\xbfb"])
def test_half_a_character_is_replaced(written: bytes) -> None:
    assert read_object(b'{"' + written + b'": ["' + written + b'"]}') == {"a\ufffdb": ["a\ufffdb"]}
    assert read_object(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "missing"),
        (b"{", "line 1 column 2"),
        (b"[1]", "a JSON object"),
        (b"null", "a JSON object"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_what_is_no_object_of_json_says_so(body: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_object(body)


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(UsageError):  # and nothing else
        assert isinstance(read_object(body), dict)


# -- images


@given(st.binary(min_size=1, max_size=200), st.integers(1, 80), st.sampled_from(["\n", "\r\n", " ", "\t", "\n\n"]))
@settings(deadline=None)
def test_base64_may_have_line_breaks(data: bytes, width: int, between: str) -> None:
    text = base64.b64encode(data).decode()
    wrapped = between.join(textwrap.wrap(text, width)) + between
    for written in (text, wrapped, f"data:image/png;base64,{text}", f"DATA:;base64,{wrapped}"):
        assert images_of({"images": [written]}) == (data,)


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_an_image_or_refused_by_its_place(text: str) -> None:
    with contextlib.suppress(ImageError):
        assert images_of({"images": [text]})[0]
    with pytest.raises(ImageError, match="image 2: "):
        images_of({"images": ["aGVsbG8=", "data:image/png;base64," + text + "%"]})
