"""How far ggufvlm and the reference are apart: ``python -m tests.parity.compare [FAMILY ...]``."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from tests.parity.cases import DATA, Case, cases
from tests.parity.ours import Ours, ask, load
from tests.parity.sizes import SIZES


@dataclass(frozen=True)
class Stored:
    """The reference of one case."""

    tokens: np.ndarray
    embeddings: np.ndarray
    logits: np.ndarray
    answer: np.ndarray


def stored(family: str, case: Case) -> Stored:
    with np.load(DATA / family / "reference.npz") as arrays:
        tokens, embeddings, logits, answer = (
            arrays[f"{case.name}/{key}"] for key in ("tokens", "embeddings", "logits", "answer")
        )
    return Stored(tokens, embeddings.astype(np.float32), logits, answer)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row by row."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def logit_difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest, in standard deviations of the logits."""
    return float(np.abs(one - other).max() / other.std())


def equal_tokens(one: np.ndarray, other: np.ndarray) -> int:
    """How many of the first greedy tokens are equal."""
    n = min(len(one), len(other))
    differs = np.flatnonzero(one[:n] != other[:n])
    return int(differs[0]) if len(differs) else n


def _line(ours: Ours, reference: Stored) -> str:
    if not len(reference.embeddings):
        seen = "not stored"
    elif ours.embeddings.shape == reference.embeddings.shape:
        rows = cosines(ours.embeddings, reference.embeddings)
        seen = f"cosine min {rows.min():.6f} mean {rows.mean():.6f}"
    else:
        seen = f"embeddings {ours.embeddings.shape}, reference {reference.embeddings.shape}"
    same = np.array_equal(ours.tokens, reference.tokens)
    return (
        f"{seen}, logits {logit_difference(ours.logits, reference.logits):.4f}, "
        f"greedy {equal_tokens(ours.answer, reference.answer)}, prompt {'equal' if same else 'DIFFERENT'}"
    )


def main() -> None:
    for family in sys.argv[1:] or SIZES:
        print(family)
        for case in cases(SIZES[family]):
            with load(family) as vlm:
                ours, reference = ask(vlm, case), stored(family, case)
                print(f"  {case.name}: {_line(ours, reference)}")
                if not np.array_equal(ours.tokens, reference.tokens):
                    vocab = vlm._worker.engine._runner.model.vocab
                    for name, tokens in (("ours", ours.tokens), ("reference", reference.tokens)):
                        print(f"    {name}: {_readable(vocab, tokens)!r}")


def _readable(vocab: object, tokens: np.ndarray) -> str:
    text, run = "", 0
    for token in [*tokens.tolist(), None]:
        if token == -1:
            run += 1
            continue
        text, run = text + (f"({run})" if run else ""), 0
        if token is not None:
            text += vocab.piece(token).decode("utf-8", "replace")
    return text


if __name__ == "__main__":
    main()
