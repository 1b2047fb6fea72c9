from __future__ import annotations

import numpy as np

from ggufvlm.engine.embedding_cache import EmbeddingCache


def rows(count: int) -> np.ndarray:
    return np.zeros((count, 25), np.float32)  # 100 bytes a row


def test_what_was_kept_comes_back() -> None:
    cache = EmbeddingCache(1000)
    kept = rows(3)
    cache.put("a", 0, kept)
    assert cache.get("a", 0) is kept
    assert cache.get("a", 1) is None
    assert cache.get("b", 0) is None


def test_the_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache(1000)
    for name in "abc":
        cache.put(name, 0, rows(3))
    cache.get("a", 0)
    cache.put("d", 0, rows(3))
    assert cache.get("b", 0) is None
    assert cache.get("a", 0) is not None
    assert cache.n_bytes == 900


def test_something_too_large_is_not_kept_and_drops_nothing() -> None:
    cache = EmbeddingCache(1000)
    cache.put("a", 0, rows(3))
    cache.put("b", 0, rows(11))
    assert len(cache) == 1
    assert cache.n_bytes == 300


def test_replacing_counts_once() -> None:
    cache = EmbeddingCache(1000)
    cache.put("a", 0, rows(3))
    cache.put("a", 0, rows(4))
    assert (len(cache), cache.n_bytes) == (1, 400)
