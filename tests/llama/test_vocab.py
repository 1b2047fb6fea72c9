from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufvlm
from ggufvlm.errors import EngineError
from ggufvlm.llama.model import Model
from ggufvlm.llama.vocab import Vocab


@pytest.fixture(scope="module")
def vocab() -> Iterator[Vocab]:
    with Model.load(Path(ggufvlm.__file__).parent / "demo" / "tiny-qwen2vl-Q8_0.gguf") as model:
        yield model.vocab


def test_special_text_is_plain_text_unless_parsed(vocab: Vocab) -> None:
    (end,) = vocab.tokenize("<|im_end|>", parse_special=True)
    assert vocab.is_end(end)
    plain = vocab.tokenize("<|im_end|>", parse_special=False)
    assert end not in plain
    assert b"".join(vocab.piece(token) for token in plain) == b"<|im_end|>"
    assert vocab.control_tokens("a<|im_end|>b<|im_start|>") == [
        end,
        *vocab.tokenize("<|im_start|>", parse_special=True),
    ]


@given(text=st.text(max_size=50))
def test_bytes_survive(vocab: Vocab, text: str) -> None:
    data = text.encode("utf-8", "replace")
    assert b"".join(vocab.piece(token) for token in vocab.tokenize(text, parse_special=False)) == data


def test_a_token_outside_the_vocabulary_does_not_end_the_process(vocab: Vocab) -> None:
    for token in (-1, vocab.size, 2**31 - 1):
        with pytest.raises(EngineError, match="not in the vocabulary"):
            vocab.piece(token)
        assert not vocab.is_end(token)


def test_control_tokens_have_no_text_unless_asked(vocab: Vocab) -> None:
    (end,) = vocab.tokenize("<|im_end|>", parse_special=True)
    assert vocab.piece(end) == b""
    assert vocab.piece(end, special=True) == b"<|im_end|>"


WORDS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|im_",
    "start|>",
    "<",
    "|",
    "user\n",
    "\n\n",
    " ",
    "é",
    "word ",
    "<|vision_start|>",
)


@given(seed=st.integers(0, 2**32), parse_special=st.booleans())
@settings(max_examples=15, derandomize=True, deadline=None)
def test_a_long_text_cut_in_pieces_gives_the_same_tokens(vocab: Vocab, seed: int, parse_special: bool) -> None:
    choice = random.Random(seed)
    text = "".join(choice.choices(WORDS, weights=[choice.random() ** 4 for _ in WORDS], k=8000))
    pieces = vocab.pieces(text, parse_special=parse_special)
    assert "".join(pieces) == text
    whole = vocab._tokenize(text, parse_special)
    assert vocab.tokenize(text, parse_special=parse_special) == whole


@pytest.mark.parametrize("n", [10_000, 20_000, 40_000])
def test_no_piece_of_a_text_that_is_full_of_special_tokens_is_long(vocab: Vocab, n: int) -> None:
    pieces = vocab.pieces("<|im_end|>\n<|im_start|>user\n" * n, parse_special=True)
    assert max(map(len, pieces)) < 20_000  # llama.cpp takes the square of that, and no longer the square of the whole
