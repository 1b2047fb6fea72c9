"""What ggufvlm computes for a case, by the whole path that a user's question takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ggufvlm import VLM, EngineConfig
from ggufvlm.engine.sequence import TextSegment
from tests.parity.cases import DATA, N_ANSWER, Case

IMAGE_ROW = -1  # in place of a token


@dataclass
class Ours:
    """Arrays of one case, as the reference stores them."""

    tokens: np.ndarray
    embeddings: np.ndarray
    logits: np.ndarray
    answer: np.ndarray


@dataclass
class _Taken:
    tokens: list[int] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)


def load(family: str) -> VLM:
    folder = DATA / family
    return VLM.load(folder / "model.gguf", folder / "mmproj.gguf", config=EngineConfig(use_cache=False))


def ask(vlm: VLM, case: Case) -> Ours:
    """Answer a case; the embeddings are those of the images that this call encoded."""
    runner = vlm._worker.engine._runner
    taken = _Taken()
    spies = {
        (runner, "tokenize"): _spy_tokenize(runner.tokenize, taken),
        (runner, "sample"): _spy_sample(runner, taken),
        (runner.projector, "encode"): _spy_encode(runner.projector.encode, taken),
    }
    for (owner, name), spy in spies.items():
        setattr(owner, name, spy)
    try:
        settings: dict[str, Any] = {"max_tokens": N_ANSWER, "temperature": 0.0, "repetition_guard": False}
        _ = vlm.stream(case.messages, **settings).answer
    finally:
        for owner, name in spies:
            delattr(owner, name)
    embeddings = np.concatenate(taken.embeddings) if taken.embeddings else np.zeros((0, 0), np.float32)
    return Ours(np.array(taken.tokens), embeddings, taken.logits[0], np.array(taken.answer))


def _spy_tokenize(tokenize: Any, taken: _Taken) -> Any:
    def spy(request: Any) -> Any:
        prompt = tokenize(request)
        for segment in prompt.segments:
            is_text = isinstance(segment, TextSegment)
            taken.tokens += segment.tokens if is_text else [IMAGE_ROW] * segment.n_cells
        return prompt

    return spy


def _spy_sample(runner: Any, taken: _Taken) -> Any:
    sample = runner.sample

    def spy(sampler: Any, row: int) -> int:
        taken.logits.append(runner.context.logits(row).copy())
        token = sample(sampler, row)
        taken.answer.append(token)
        return token

    return spy


def _spy_encode(encode: Any, taken: _Taken) -> Any:
    def spy(*arguments: Any) -> Any:
        embeddings = encode(*arguments)
        taken.embeddings.append(embeddings)
        return embeddings

    return spy
