"""What memory and arithmetic of this machine can give, by numpy: the roof above llama.cpp's numbers.

:func:`main` runs in a process of its own, because the number of threads a BLAS computes with is settled when it is
loaded.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ggufvlm.workers.launch import command

if TYPE_CHECKING:
    from ggufvlm.tools.bench.job import BenchJob, Measured, Say

BYTES_PER_THREAD = 128 << 20
"""More than any cache holds."""

MATRIX = 2048
_PASSES = 3
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def measure_peaks(job: BenchJob, say: Say) -> Measured:
    """``bandwidth`` [GB/s] and ``arithmetic`` [GFLOP/s] of as many threads as the engine uses.

    Bandwidth is that of reading, which is what decoding does with weights: each thread looks for the largest number
    (32-bit integers: a comparison costs less than the memory access) in an array of its own. Arithmetic is a product of
    float32 matrices by numpy's BLAS. Both are what a good program reaches here, not what a data sheet promises.

    Raises:
        EngineError: the program failed.
    """
    from ggufvlm.tools.bench.processes import run

    say("what memory and cores can give")
    n_threads = str(job.n_threads)
    environment = dict.fromkeys(_THREAD_VARIABLES, n_threads)
    done = run(command("ggufvlm.tools.bench.peaks", n_threads, str(job.repeat)), environment)
    measured: Measured = json.loads(done.stdout)
    return measured


def _bandwidth(n_threads: int, repeat: int) -> list[float]:
    import numpy as np

    arrays = [np.ones(BYTES_PER_THREAD // 4, np.int32) for _ in range(n_threads)]

    def read(array: Any) -> None:
        for _ in range(_PASSES):
            array.max()

    speeds = []
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in range(repeat + 1):
            began = time.perf_counter()
            list(pool.map(read, arrays))
            speeds.append(_PASSES * n_threads * BYTES_PER_THREAD / (time.perf_counter() - began) / 1e9)
    return speeds[1:]


def _arithmetic(repeat: int) -> list[float]:
    import numpy as np

    left = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    right = left.T.copy()
    speeds = []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        left @ right
        speeds.append(2 * MATRIX**3 / (time.perf_counter() - began) / 1e9)
    return speeds[1:]


def main() -> None:
    """Measure and print JSON."""
    n_threads, repeat = (int(argument) for argument in sys.argv[1:3])
    found = {"bandwidth": _bandwidth(n_threads, repeat), "arithmetic": _arithmetic(repeat)}
    sys.stdout.write(json.dumps(found))
