"""Rows about one image: a new process, an old one, another turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ggufvlm.media import Image, save, to_png
from ggufvlm.tools.bench.against import PROMPT, compare_cold, n_said
from ggufvlm.tools.bench.alternate import set_against
from ggufvlm.tools.bench.images import variant
from ggufvlm.tools.bench.in_process import fixed_work, loaded
from ggufvlm.tools.bench.peers import MTMD_CLI, N_CTX, SERVER, find_program, mtmd_command, server_arguments
from ggufvlm.tools.bench.processes import run
from ggufvlm.tools.bench.results import Ratio
from ggufvlm.tools.bench.server import LlamaServer, started
from ggufvlm.tools.bench.subprocesses import describe, first_of, saved
from ggufvlm.vlm.vlm import VLM
from tests.benchmarks.setting import Setting

STOCK = "stock handler"


def other_question(number: int) -> str:
    return f"What is at place {number}?"


def cold(setting: Setting) -> list[Ratio]:
    """A new process; of our caches only the derived projector is used."""
    return compare_cold(setting.job, find_program(setting.binaries, MTMD_CLI), setting.say)


def warm(setting: Setting) -> list[Ratio]:
    """Another question in a new process, after one has looked at the image: until the first word and the end."""
    job, program = setting.job, find_program(setting.binaries, MTMD_CLI)
    lengths: list[int] = []
    with saved(job.image) as image:
        describe(job, image, PROMPT, use_cache=True)

        def ours(number: int) -> dict[str, float]:
            done = describe(job, image, other_question(number), use_cache=True)
            lengths.append(n_said(done))
            setting.note(f"warm: answers of {lengths[-1]} tokens on both sides")
            return {"warm, first token": first_of(done), "warm, whole": done.seconds}

        def theirs(number: int) -> dict[str, float]:
            done = run(mtmd_command(program, job, image, other_question(number), lengths[-1]))
            return {"warm, first token": first_of(done), "warm, whole": done.seconds}

        return set_against(MTMD_CLI, ours, theirs, unit="s", repeat=job.repeat, say=setting.say)


def _move_slot(server: LlamaServer, action: str) -> None:
    server.client.post("/slots/0", params={"action": action}, json={"filename": "slot.bin"}).raise_for_status()


def restore(setting: Setting) -> list[Ratio]:
    """As warm, against a server that starts, restores a slot and answers: from its start to the last token."""
    job, program = setting.job, find_program(setting.binaries, SERVER)
    png, lengths = to_png(job.image), list[int]()
    with saved(job.image) as image, tempfile.TemporaryDirectory() as folder:
        arguments = server_arguments(job, n_slots=1, n_ctx=N_CTX, slot_folder=Path(folder))
        describe(job, image, PROMPT, use_cache=True)
        with started(program, arguments) as server:
            server.ask(png, PROMPT, job.n_tokens, slot=0)
            _move_slot(server, "save")

        def ours(number: int) -> dict[str, float]:
            done = describe(job, image, other_question(number), use_cache=True)
            lengths.append(n_said(done))
            return {"restore, first token": first_of(done), "restore, last token": done.last}

        def theirs(number: int) -> dict[str, float]:
            began = time.perf_counter()
            with started(program, arguments) as server:
                _move_slot(server, "restore")
                asked = time.perf_counter() - began
                reply = server.ask(png, other_question(number), lengths[-1], slot=0)
            setting.note(f"restore: ours said {lengths[-1]} tokens, the server {reply.n_tokens}")
            return {"restore, first token": asked + reply.first, "restore, last token": asked + reply.seconds}

        return set_against("llama-server + slot", ours, theirs, unit="s", repeat=job.repeat, say=setting.say)


def second_turn(setting: Setting) -> list[Ratio]:
    """The first token of a chat's second turn, in the same process."""
    job = setting.job
    script = Path(__file__).with_name("stock_turns.py")
    command = [sys.executable, script, job.files.model, job.files.mmproj, str(job.n_threads)]
    with (
        subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as stock,
        tempfile.TemporaryDirectory() as folder,
        loaded(job) as vlm,
    ):

        def ours(number: int) -> dict[str, float]:
            image = variant(job.image, number)
            return {
                "second turn, first token": our_second_turn(vlm, image),
                "second turn, typed in a second": our_second_turn(vlm, image, seconds_of_typing=1.0),
            }

        def theirs(number: int) -> dict[str, float]:
            path = Path(folder) / f"{number}.png"
            save(variant(job.image, number), path)
            assert stock.stdin is not None
            assert stock.stdout is not None
            stock.stdin.write(f"{path}\n")
            stock.stdin.flush()
            seconds = json.loads(stock.stdout.readline())["second"]
            return {"second turn, first token": seconds, "second turn, typed in a second": seconds}

        try:
            return set_against(STOCK, ours, theirs, unit="s", repeat=job.repeat, say=setting.say)
        finally:
            stock.kill()


def our_second_turn(vlm: VLM, image: Image, *, seconds_of_typing: float = 0.0) -> float:
    """Seconds to the first token; while a person types, a chat computes what the question will begin with."""
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]}]
    said = vlm.stream(messages, **fixed_work(16)).answer.text
    messages += [{"role": "assistant", "content": said}]
    if seconds_of_typing:
        vlm.prepare([*messages, {"role": "user", "content": ""}])
        time.sleep(seconds_of_typing)
    messages += [{"role": "user", "content": "What is on the left?"}]
    answer = vlm.stream(messages, **fixed_work(16)).answer
    assert answer.usage.n_images_encoded == 0
    return answer.times.first_token or 0.0
