"""Grammars without a model: llguidance's matchers whose tokens are bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _bytes_tokenizer() -> Any:
    from llguidance import LLTokenizer

    return LLTokenizer("byte")


def byte_matcher(grammar: str) -> Any:
    """A matcher that reads texts of no model in particular.

    Args:
        grammar: as ``llguidance.LLMatcher`` takes it.
    """
    from llguidance import LLMatcher

    return LLMatcher(_bytes_tokenizer(), grammar, log_level=0)


def accepts(grammar: str, text: str) -> bool:
    """Whether a grammar allows a text as a whole, in time that grows with the text."""
    tokens = list(text.encode())
    matcher = byte_matcher(grammar)
    return matcher.try_consume_tokens(tokens) == len(tokens) and bool(matcher.is_accepting())
