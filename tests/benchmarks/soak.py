"""The row about one process that answers for a long time, with the built-in model."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import mean

from ggufvlm import VLM, EngineConfig
from ggufvlm.tools.bench.images import make_image, variant
from ggufvlm.tools.bench.results import Ratio
from tests.benchmarks.setting import Setting

N_REQUESTS = 500
N_COMPARED = 50


def soak(setting: Setting) -> list[Ratio]:
    """Many short requests about different images: the last ones against the first, in time and memory."""
    image, seconds, resident = make_image(), list[float](), list[float]()
    with VLM.load("demo", config=EngineConfig(n_threads=setting.job.n_threads, use_cache=False)) as vlm:
        for number in range(10):
            vlm.describe(variant(image, N_REQUESTS + number), max_tokens=8)
        for number in range(N_REQUESTS):
            began = time.perf_counter()
            vlm.describe(variant(image, number), max_tokens=8)
            seconds.append(1e3 * (time.perf_counter() - began))
            resident.append(_resident() / 1e6)
    first, last = mean(seconds[:N_COMPARED]), mean(seconds[-N_COMPARED:])
    name = f"{N_REQUESTS} requests"
    return [
        Ratio.of(f"{name}, mean of the last {N_COMPARED}", f"the first {N_COMPARED}", "ms", [last], [first]),
        Ratio.of(f"{name}, memory at the end", f"after {N_COMPARED}", "MB", [resident[-1]], [resident[N_COMPARED]]),
    ]


def _resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
