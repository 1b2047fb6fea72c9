"""The pace of several answers that are made at a time, as the thread that gets them sees it."""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ggufvlm.config import SamplingParams
from ggufvlm.engine.task import Output
from ggufvlm.tools.bench.in_process import fixed_work
from ggufvlm.vlm.request import question
from ggufvlm.vlm.vlm import VLM

N_SETTLING = 2
"""Tokens of each answer before the clock starts."""

Moments = dict[int, list[float]]
"""When each token came, by answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast answers came.

    Attributes:
        speed: tokens/s, of all lanes together.
        overhead: per cent by which a step took longer than llama.cpp's part in it.
    """

    speed: float
    overhead: float


class _Stamped(queue.SimpleQueue[Any]):
    """Notes when something is put in: the thread that takes it out may wake late."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put((time.perf_counter(), item))


def engine_pace(vlm: VLM, n_lanes: int, n_tokens: int) -> Pace:
    """How fast ``n_lanes`` answers to text prompts are made at a time.

    Scheduling, sampling, detokenizing and handing each token to another thread are in it. What counts is the time in
    which all lanes run: from when each has said :data:`N_SETTLING` tokens until the first one ends.
    """
    outputs = _Stamped()
    calls: list[tuple[float, float]] = []
    vlm.in_engine_thread(lambda engine: engine.time_native_calls(lambda began, ended: calls.append((began, ended))))
    try:
        _begin_together(vlm, n_lanes, n_tokens + N_SETTLING + 1, outputs)
        steps = common_steps(_timed(outputs, n_lanes))
    finally:
        vlm.in_engine_thread(lambda engine: engine.time_native_calls(None))
    seconds = steps[-1] - steps[0]
    native = sum(ended - began for began, ended in calls if steps[0] < ended <= steps[-1])
    return Pace(n_lanes * (len(steps) - 1) / seconds, 100 * (seconds / native - 1))


def prompt_cells(vlm: VLM) -> int:
    """Cells of a prompt that :func:`engine_pace` asks."""
    return vlm.measure(question([], _prompt(0))).total


def _prompt(lane: int) -> str:
    return f"Count to {100 + lane}."


def _begin_together(vlm: VLM, n_lanes: int, n_tokens: int, outputs: queue.SimpleQueue[Any]) -> None:
    """Ask so that no step comes between two of the requests: a short answer could end before the last one begins."""
    sampling = SamplingParams(**fixed_work(n_tokens))
    builder = vlm.request_builder
    requests = [builder.build(question([], _prompt(lane)), sampling) for lane in range(n_lanes)]
    vlm.in_engine_thread(lambda _engine: [vlm.submit(request, outputs) for request in requests])


def _timed(outputs: queue.SimpleQueue[Any], n_lanes: int) -> Moments:
    seen: Moments = defaultdict(list)
    ended = 0
    while ended < n_lanes:
        moment, output = outputs.get()
        if isinstance(output, BaseException):
            raise output
        assert isinstance(output, Output)
        if output.error is not None:
            raise output.error
        seen[output.sequence.id].append(moment)
        ended += output.is_last
    return seen


def common_steps(seen: Moments) -> list[float]:
    """When each step ended in which all answers ran: the tokens of the one that began last."""
    latest = max(seen.values(), key=lambda moments: moments[N_SETTLING - 1])[N_SETTLING - 1 :]
    first_end = min(moments[-1] for moments in seen.values())
    inside = [moment for moment in latest if moment <= first_end]
    # where all end in the same step, its last token may come a moment after that of the first to end
    return inside if len(inside) > 1 else latest
