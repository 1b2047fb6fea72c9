"""Rows about several answers at a time, and about the pace of tokens."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ggufvlm.media import Image, save, to_png
from ggufvlm.tools.bench.against import PROMPT, compare_together
from ggufvlm.tools.bench.alternate import seconds_of, set_against
from ggufvlm.tools.bench.images import variant, variants
from ggufvlm.tools.bench.in_process import fixed_work, loaded, map_all
from ggufvlm.tools.bench.peers import (
    BENCH,
    MTMD_CLI,
    SERVER,
    bench_command,
    find_program,
    mtmd_command,
    server_arguments,
)
from ggufvlm.tools.bench.processes import run
from ggufvlm.tools.bench.results import Ratio
from ggufvlm.tools.bench.server import LlamaServer, question_body, started
from ggufvlm.tools.bench.tokens import decode_pair
from ggufvlm.vlm.request import question
from ggufvlm.vlm.vlm import VLM
from tests.benchmarks.setting import Setting

N_ANSWER = 48
N_SLOTS = 4
N_RUNNING = 600
"""Tokens of an answer that is still running when the other one has begun; it is ended then."""


def eight(setting: Setting) -> list[Ratio]:
    """Eight questions about one new image, together."""
    job = replace(setting.job, n_tokens=N_ANSWER)
    return compare_together(job, find_program(setting.binaries, SERVER), setting.say)


def many(setting: Setting) -> list[Ratio]:
    """Different images, one question each. Loading counts against the loop, which does it each time."""
    job, count = setting.job, setting.n_images
    mtmd, program = find_program(setting.binaries, MTMD_CLI), find_program(setting.binaries, SERVER)
    ours: list[tuple[float, float]] = []
    loop: list[float] = []
    served: list[float] = []
    with started(program, server_arguments(job, n_slots=N_SLOTS, n_ctx=N_SLOTS * 1024)) as server:
        for number in job.runs():
            images = variants(job.image, count, first=count * number)
            setting.say(f"{count} images, {number} of {job.repeat}")
            ours.append(_map_with_load(setting, images))
            loop.append(_loop(setting, mtmd, images[: setting.n_loop]) * count / setting.n_loop)
            served.append(_serve(server, images))
    setting.note(f"many: {count} images; the loop was measured with {setting.n_loop} and multiplied")
    whole, mapped = [load + asked for load, asked in ours[1:]], [asked for _, asked in ours[1:]]
    name = f"{count} images"
    return [
        Ratio.of(f"{name}, with loading", f"loop of {MTMD_CLI}", "s", whole, loop[1:]),
        Ratio.of(name, f"{SERVER} -np {N_SLOTS}", "s", mapped, served[1:]),
    ]


def _map_with_load(setting: Setting, images: Sequence[Image]) -> tuple[float, float]:
    asked = [(to_png(image), PROMPT) for image in images]
    began = time.perf_counter()
    with loaded(setting.job, n_slots=N_SLOTS, priority="throughput") as vlm:
        load = time.perf_counter() - began
        return load, map_all(vlm, asked, N_ANSWER)


def _loop(setting: Setting, program: Path, images: Sequence[Image]) -> float:
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, image in enumerate(images):
            path = Path(folder) / f"{number}.png"
            save(image, path)
            seconds += run(mtmd_command(program, setting.job, path, PROMPT, N_ANSWER)).seconds
    return seconds


def _serve(server: LlamaServer, images: Sequence[Image]) -> float:
    bodies = [question_body(to_png(image), PROMPT, N_ANSWER) for image in images]
    with ThreadPoolExecutor(N_SLOTS) as pool:
        return seconds_of(lambda: list(pool.map(server.send, bodies)))


def overhead(setting: Setting) -> list[Ratio]:
    """Milliseconds for a token of one answer: against llama-bench, a bare loop, and the calls inside our own steps."""
    job, program = setting.job, find_program(setting.binaries, BENCH)
    ours: list[float] = []
    bench: list[float] = []
    bare: list[float] = []
    inside: list[float] = []
    with loaded(job) as vlm:
        for number in job.runs():
            setting.say(f"decode, {number} of {job.repeat}")
            pace, alone = decode_pair(vlm, job, 1)
            ours.append(1e3 / pace.speed)
            bare.append(1e3 / alone)
            inside.append(ours[-1] / (1 + pace.overhead / 100))
            done = run(bench_command(program, job, n_prompt=0, n_generated=job.n_tokens))
            bench.append(1e3 / json.loads(done.stdout)[0]["avg_ts"])
    sides = {f"{BENCH} tg{job.n_tokens}": bench, "bare llama_decode": bare, "llama_decode inside": inside}
    return [Ratio.of("decode", name, "ms/token", ours[1:], theirs[1:]) for name, theirs in sides.items()]


def pause(setting: Setting) -> list[Ratio]:
    """The longest wait between two pieces of a running answer while a question about a new image is admitted."""
    job, program = setting.job, find_program(setting.binaries, SERVER)
    arguments = server_arguments(job, n_slots=2, n_ctx=4096)
    with started(program, arguments) as server, loaded(job, n_slots=2) as vlm:

        def ours(number: int) -> dict[str, float]:
            return {"longest pause": _our_pause(setting, vlm, number)}

        def theirs(number: int) -> dict[str, float]:
            return {"longest pause": _their_pause(setting, server, number)}

        return set_against(SERVER, ours, theirs, unit="s", repeat=job.repeat, say=setting.say)


def _our_pause(setting: Setting, vlm: VLM, number: int) -> float:
    running, moments = variant(setting.job.image, 2 * number), list[float]()
    with vlm.stream(question([running], PROMPT), **fixed_work(N_RUNNING)) as stream:

        def listen() -> None:
            for _ in stream:
                moments.append(time.perf_counter())

        thread = threading.Thread(target=listen)
        thread.start()
        _wait_for_pieces(moments, thread)
        asked = time.perf_counter()
        other = vlm.stream(question([variant(setting.job.image, 2 * number + 1)], PROMPT), **fixed_work(4)).answer
        begun = asked + (other.times.first_token or 0.0)
        time.sleep(0.05)
        stream.abort()
        thread.join()
    setting.note(f"pause: the other answer began after {begun - asked:.2f} s (ours)")
    return longest_gap(moments, asked, begun)


def _their_pause(setting: Setting, server: LlamaServer, number: int) -> float:
    enough, moments = threading.Event(), list[float]()
    running = question_body(to_png(variant(setting.job.image, 2 * number)), PROMPT, N_RUNNING)
    other = question_body(to_png(variant(setting.job.image, 2 * number + 1)), PROMPT, 4)
    thread = threading.Thread(target=lambda: server.send(running, enough, moments))
    thread.start()
    _wait_for_pieces(moments, thread)
    asked = time.perf_counter()
    begun = asked + server.send(other).first
    time.sleep(0.05)
    enough.set()
    thread.join()
    setting.note(f"pause: the other answer began after {begun - asked:.2f} s (theirs)")
    return longest_gap(moments, asked, begun)


def _wait_for_pieces(moments: list[float], thread: threading.Thread, count: int = 8) -> None:
    while len(moments) < count and thread.is_alive():
        time.sleep(0.002)


def longest_gap(moments: Sequence[float], start: float, end: float) -> float:
    """The longest time between two moments, of the gaps that touch the time from ``start`` to ``end``."""
    gaps = [later - earlier for earlier, later in pairwise(moments) if later > start and earlier < end]
    assert gaps, "the running answer ended too early"
    return max(gaps)
