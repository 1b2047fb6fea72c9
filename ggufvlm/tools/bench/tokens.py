"""What is measured without images: reading and writing tokens, by llama.cpp alone and through the engine."""

from __future__ import annotations

from collections.abc import Sequence

from ggufvlm.llama.context import ContextShape
from ggufvlm.llama.model import Model
from ggufvlm.tools.bench.concurrency import N_SETTLING, Pace, engine_pace, prompt_cells
from ggufvlm.tools.bench.in_process import loaded
from ggufvlm.tools.bench.job import BenchJob, Measured, Say
from ggufvlm.tools.bench.llama_only import N_PREFILL, bare_context, decode_speed, prefill_speed
from ggufvlm.vlm.vlm import VLM

LANES = (1, 2, 4, 8)


def measure_prefill(job: BenchJob, say: Say) -> Measured:
    """Reading a prompt of random tokens."""
    say("reading tokens")
    shape = ContextShape(n_ctx=N_PREFILL, n_ubatch=job.config.n_ubatch, n_threads=job.n_threads)
    with loaded(job) as vlm:
        model = model_of(vlm)

        def run() -> list[float]:
            with bare_context(model, job.config, shape) as context:
                return [prefill_speed(context, model) for _ in job.runs()]

        return {"prefill": vlm.in_engine_thread(lambda _engine: run())[1:]}


def measure_decode(job: BenchJob, say: Say, lanes: Sequence[int] = LANES) -> Measured:
    """Answering several prompts at a time: through the engine and by llama.cpp alone, alternately."""
    measured: Measured = {}
    with loaded(job, n_slots=max(LANES)) as vlm:
        for n_lanes in lanes:
            for index in job.runs():
                say(f"answering {n_lanes} at a time: {index} of {job.repeat}")
                pace, bare = decode_pair(vlm, job, n_lanes)
                if index:
                    measured.setdefault(f"decode_{n_lanes}", []).append(pace.speed)
                    measured.setdefault(f"llama_decode_{n_lanes}", []).append(bare)
                    measured.setdefault(f"overhead_{n_lanes}", []).append(pace.overhead)
    return measured


def decode_pair(vlm: VLM, job: BenchJob, n_lanes: int) -> tuple[Pace, float]:
    """The pace of the engine, and the tokens/s of ``llama_decode`` alone at the same depth."""
    pace = engine_pace(vlm, n_lanes, job.n_tokens)
    depth, model = prompt_cells(vlm) + N_SETTLING, model_of(vlm)
    shape = ContextShape(
        n_ctx=n_lanes * (depth + job.n_tokens + 2),
        n_ubatch=job.config.n_ubatch,
        n_threads=job.n_threads,
        n_slots=max(LANES),
    )

    def run() -> float:
        with bare_context(model, job.config, shape) as context:
            return decode_speed(context, model, n_lanes, depth=depth, n_steps=job.n_tokens)

    # OpenMP keeps its threads for each caller
    return pace, vlm.in_engine_thread(lambda _engine: run())


def model_of(vlm: VLM) -> Model:
    """The weights that an engine computes with."""
    return vlm.in_engine_thread(lambda engine: engine.model)
