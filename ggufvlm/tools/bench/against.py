"""The same work by us and by llama.cpp's own programs, side by side (``--against``)."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ggufvlm.errors import EngineError, UsageError
from ggufvlm.media import resize, to_png
from ggufvlm.tools.bench.alternate import seconds_of, set_against
from ggufvlm.tools.bench.concurrency import engine_pace
from ggufvlm.tools.bench.images import variant
from ggufvlm.tools.bench.in_process import ask, loaded, look, map_all
from ggufvlm.tools.bench.job import BenchJob, Say
from ggufvlm.tools.bench.peers import (
    BENCH,
    MTMD_CLI,
    N_CTX,
    SERVER,
    bench_command,
    find_program,
    mtmd_command,
    server_arguments,
)
from ggufvlm.tools.bench.processes import FinishedProgram, run
from ggufvlm.tools.bench.results import Ratio
from ggufvlm.tools.bench.server import ServerReply, question_body, started
from ggufvlm.tools.bench.subprocesses import describe, saved
from ggufvlm.vlm.request import question
from ggufvlm.vlm.vlm import VLM

N_TOGETHER = 8
N_PROMPT = 512
PROMPT = "What is this?"
_N_SAID = re.compile(r"(\d+) tokens.*, ended by")

Comparison = Callable[[BenchJob, Path, Say], list[Ratio]]


def compare_all(job: BenchJob, folder: Path, say: Say) -> tuple[list[Ratio], list[str]]:
    """All comparisons for which ``folder`` has the program; and what was left out, with the reason."""
    ratios: list[Ratio] = []
    left_out: list[str] = []
    job = at_seen_size(job)
    comparisons: tuple[tuple[str, str, Comparison], ...] = (
        ("cold", MTMD_CLI, compare_cold),
        ("prefill and decode", BENCH, compare_tokens),
        ("second question", SERVER, compare_second_question),
        (f"{N_TOGETHER} questions", SERVER, compare_together),
    )
    for name, program, compare in comparisons:
        try:
            ratios += compare(job, find_program(folder, program), say)
        except (UsageError, EngineError) as error:
            left_out.append(f"{name}: {error}")
    return ratios, left_out


def at_seen_size(job: BenchJob) -> BenchJob:
    """The job with its image as large as our projector gets it, so that nobody computes fewer patches."""
    seen = look(job)
    return replace(job, image=resize(job.image, seen.seen_width, seen.seen_height))


def n_said(done: FinishedProgram) -> int:
    """Tokens of the answer of a ``describe``, as its statistics say.

    Raises:
        EngineError: they say nothing.
    """
    found = _N_SAID.search(done.stderr)
    if found is None:
        raise EngineError("describe did not say how many tokens it made")
    return int(found[1])


def compare_cold(job: BenchJob, program: Path, say: Say) -> list[Ratio]:
    """One question in a new process that knows nothing: until the first word, and until the end.

    An answer of ours may end early; theirs is then as long as ours was.
    """
    lengths: list[int] = []
    with saved(job.image) as image:

        def ours(_run: int) -> dict[str, float]:
            done = describe(job, image, PROMPT, use_cache=False)
            lengths.append(n_said(done))
            return _times(done)

        def theirs(_run: int) -> dict[str, float]:
            return _times(run(mtmd_command(program, job, image, PROMPT, lengths[-1])))

        return set_against(MTMD_CLI, ours, theirs, unit="s", repeat=job.repeat, say=say)


def _times(done: FinishedProgram) -> dict[str, float]:
    return {"cold_first_token": done.first or done.seconds, "cold_whole": done.seconds}


def compare_tokens(job: BenchJob, program: Path, say: Say) -> list[Ratio]:
    """Reading and writing tokens without an image, in milliseconds for each."""

    def theirs(_run: int) -> dict[str, float]:
        done = run(bench_command(program, job, n_prompt=N_PROMPT, n_generated=job.n_tokens))
        tests = json.loads(done.stdout)
        return {("prefill" if test["n_prompt"] else "decode"): 1e3 / test["avg_ts"] for test in tests}

    with loaded(job) as vlm:

        def ours(number: int) -> dict[str, float]:
            return {"prefill": 1e3 * prefill_seconds(vlm, number), "decode": 1e3 / decode_speed(vlm, job)}

        return set_against(BENCH, ours, theirs, unit="ms/token", repeat=job.repeat, say=say)


def prefill_seconds(vlm: VLM, number: int) -> float:
    """Seconds for each token of a text prompt through the engine; another text for each ``number``."""
    draw = random.Random(number)
    words = " ".join(str(draw.randrange(10, 100)) for _ in range(N_PROMPT // 3))
    answer = vlm.stream(question([], words), max_tokens=1, temperature=0.0).answer
    return answer.times.prefill / (answer.usage.n_prompt - answer.usage.n_cached)


def decode_speed(vlm: VLM, job: BenchJob) -> float:
    """Tokens/s of one answer through the engine."""
    return engine_pace(vlm, 1, job.n_tokens).speed


def compare_second_question(job: BenchJob, program: Path, say: Say) -> list[Ratio]:
    """Another question about an image that has just been asked about, in the same process: until the first word."""
    png = to_png(job.image)
    with started(program, server_arguments(job, n_slots=1, n_ctx=N_CTX)) as server, loaded(job) as vlm:

        def ours(number: int) -> dict[str, float]:
            first = ask(vlm, job.image, f"What is at place {number}?", 1).times.first_token
            return {"second_question": first or 0.0}

        def theirs(number: int) -> dict[str, float]:
            return {"second_question": server.ask(png, f"What is at place {number}?", 1).first}

        return set_against(SERVER, ours, theirs, unit="s", repeat=job.repeat, say=say)


def compare_together(job: BenchJob, program: Path, say: Say) -> list[Ratio]:
    """Several questions about one new image at the same time: until all are answered."""
    prompts = [f"Question {number}: what is in this image?" for number in range(N_TOGETHER)]
    arguments = server_arguments(job, n_slots=N_TOGETHER, n_ctx=N_TOGETHER * 1024)
    name = f"together_{N_TOGETHER}"
    with (
        started(program, arguments) as server,
        loaded(job, n_slots=N_TOGETHER, priority="throughput") as vlm,
    ):

        def ours(number: int) -> dict[str, float]:
            png = to_png(variant(job.image, number))
            return {name: map_all(vlm, [(png, prompt) for prompt in prompts], job.n_tokens)}

        def theirs(number: int) -> dict[str, float]:
            png = to_png(variant(job.image, number))
            bodies = [question_body(png, prompt, job.n_tokens) for prompt in prompts]
            replies: list[ServerReply] = []
            seconds = seconds_of(lambda: replies.extend(server.ask_together(bodies)))
            if any(reply.n_tokens != job.n_tokens for reply in replies):
                raise EngineError(f"{SERVER} did not answer with {job.n_tokens} tokens each time")
            return {name: seconds}

        return set_against(SERVER, ours, theirs, unit="s", repeat=job.repeat, say=say)
