"""Log-probabilities from a row of logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ggufvlm.engine.sequence import TokenLogprob


def log_total(logits: NDArray[np.float32]) -> float:
    """Logarithm of the sum of ``exp(logits)``: a logit minus this is its log-probability."""
    highest = float(logits.max())
    return highest + float(np.log(np.exp(logits - highest, dtype=np.float32).sum(dtype=np.float64)))


def log_share(logits: NDArray[np.float32], tokens: Sequence[int]) -> float:
    """Log-probability that the next token is one of ``tokens``."""
    return log_total(logits[list(tokens)]) - log_total(logits)


def token_logprob(logits: NDArray[np.float32], token: int, n_top: int, piece: Callable[[int], bytes]) -> TokenLogprob:
    """How probable ``token`` was, and the ``n_top`` most probable ones in its place.

    Args:
        logits: [n_vocab], before anything was changed in them.
        token: the one that was chosen.
        n_top: how many others are wanted.
        piece: bytes of a token.
    """
    total = log_total(logits)
    n_top = min(n_top, len(logits))
    best = np.argpartition(logits, -n_top)[-n_top:] if n_top else np.empty(0, np.int64)
    best = best[np.argsort(-logits[best], kind="stable")]
    data = piece(token)
    return TokenLogprob(
        token=_text(data),
        bytes=data,
        logprob=float(logits[token]) - total,
        top=tuple((_text(piece(int(other))), float(logits[other]) - total) for other in best),
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
