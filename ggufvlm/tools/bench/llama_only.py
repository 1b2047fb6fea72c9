"""llama.cpp alone: ``llama_decode`` on random tokens, as llama-bench does it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ggufvlm.config import EngineConfig
from ggufvlm.llama.context import AbortFlag, Context, ContextShape
from ggufvlm.llama.model import Model

N_PREFILL = 512


@contextmanager
def bare_context(model: Model, config: EngineConfig, shape: ContextShape) -> Iterator[Context]:
    """A context of its own beside the engine's."""
    context = Context(model, config, AbortFlag(), shape)
    try:
        yield context
    finally:
        context.close()


def prefill_speed(context: Context, model: Model) -> float:
    """Tokens/s of one prompt of random tokens, as many as a batch takes, at most :data:`N_PREFILL`."""
    count = min(N_PREFILL, context.n_batch, context.n_ctx)
    tokens = _random_tokens(model, count)
    context.clear(0)
    began = time.perf_counter()
    context.decode_tokens(tokens, range(count), [0] * count, [False] * (count - 1) + [True])
    context.logits(0 if count == 1 else count - 1)  # where a GPU computes, this waits for it
    return count / (time.perf_counter() - began)


def decode_speed(context: Context, model: Model, n_lanes: int, *, depth: int, n_steps: int) -> float:
    """Tokens/s, all lanes together, of steps of one random token for each lane.

    Args:
        context: with at least ``n_lanes`` slots.
        model: its model.
        n_lanes: sequences.
        depth: cells of each when the first step begins.
        n_steps: steps that are timed.
    """
    slots = list(range(n_lanes))
    for slot in slots:
        context.clear(slot)
        context.decode_tokens(_random_tokens(model, depth), range(depth), [slot] * depth, [False] * depth)
    tokens = _random_tokens(model, n_lanes * (n_steps + 1))
    began = 0.0
    for step in range(n_steps + 1):  # the first one still waits for the prompts
        context.decode_tokens(tokens[step * n_lanes :][:n_lanes], [depth + step] * n_lanes, slots, [True] * n_lanes)
        context.logits(0)
        began = began or time.perf_counter()
    return n_lanes * n_steps / (time.perf_counter() - began)


def _random_tokens(model: Model, count: int) -> list[int]:
    draw = random.Random(0)
    return [draw.randrange(model.vocab.size) for _ in range(count)]
