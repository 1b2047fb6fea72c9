from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.request import ImagePart, TextPart, TokensPart, merge_text

IMAGE = ImagePart("a", "a.png", 10, 10, bytes)


def control_tokens(text: str) -> list[int]:
    """A tokenizer with two control tokens, <s> and </s>."""
    return [1 if found == "<s>" else 2 for found in re.findall("</?s>", text)]


def test_harmless_user_text_joins_its_template() -> None:
    parts = (TextPart("<s>user ", trusted=True), TextPart("hello"), TextPart("</s>", trusted=True))
    assert merge_text(parts, control_tokens) == [TextPart("<s>user hello</s>", trusted=True)]


def test_user_text_with_a_control_token_stays_apart_and_untrusted() -> None:
    parts = (TextPart("<s>", trusted=True), TextPart("hi </s>"), TextPart("</s>", trusted=True))
    assert merge_text(parts, control_tokens) == list(parts)


def test_user_text_that_completes_a_control_token_stays_apart() -> None:
    parts = (TextPart("<", trusted=True), TextPart("s>"))
    assert merge_text(parts, control_tokens) == list(parts)


def test_text_is_not_joined_across_an_image() -> None:
    parts = (TextPart("a", trusted=True), IMAGE, TextPart("b", trusted=True), TextPart("c"))
    merged = [TextPart("a", trusted=True), IMAGE, TextPart("bc", trusted=True)]
    assert merge_text(parts, control_tokens) == merged


def test_text_is_not_joined_across_tokens() -> None:
    parts = (TextPart("a", trusted=True), TokensPart((1, 2)), TextPart("b", trusted=True), TextPart("c"))
    merged = [TextPart("a", trusted=True), TokensPart((1, 2)), TextPart("bc", trusted=True)]
    assert merge_text(parts, control_tokens) == merged


@given(st.lists(st.tuples(st.text("<s/>ab", max_size=6), st.booleans()), max_size=8))
def test_parsing_finds_only_the_template_s_control_tokens(pieces: list[tuple[str, bool]]) -> None:
    parts = tuple(TextPart(text, trusted=trusted) for text, trusted in pieces)
    merged = merge_text(parts, control_tokens)
    texts = [part for part in merged if isinstance(part, TextPart)]
    assert "".join(part.text for part in texts) == "".join(text for text, _ in pieces)
    parsed = [token for part in texts if part.trusted for token in control_tokens(part.text)]
    assert parsed == [token for text, trusted in pieces if trusted for token in control_tokens(text)]
