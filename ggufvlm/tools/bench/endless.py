"""Answers that do not end by themselves, so that every run does the same work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ggufvlm.config import SamplingSettings
from ggufvlm.vlm.vlm import VLM


@contextmanager
def endless(vlm: VLM) -> Iterator[None]:
    """Meanwhile no token ends an answer of this model: what other programs call ``ignore_eos``.

    It is no setting of :class:`~ggufvlm.SamplingParams` because an answer that runs past its end is of no use but here.
    """
    vocab = vlm.in_engine_thread(lambda engine: engine.model).vocab
    vocab.is_end = lambda token: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        del vocab.is_end


def fixed_work(n_tokens: int) -> SamplingSettings:
    """Exactly this many tokens, always the most probable one, inside :func:`endless`."""
    return {"max_tokens": n_tokens, "temperature": 0.0, "repeat_penalty": 1.0, "repetition_guard": False}
