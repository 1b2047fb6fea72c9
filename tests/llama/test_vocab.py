from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
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
