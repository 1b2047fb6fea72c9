"""Many clients at a time against ``ggufvlm serve``, good ones and bad ones; then the good ones against llama-server.

``python -m tests.benchmarks.serve_load --seconds 120 --peer path/to/llama-server``. Every answer is compared with what
the model says of its image when it is asked alone. Ends with 1 if an answer is wrong, or a slot or memory is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx
from PIL import Image

import ggufvlm
from ggufvlm import VLM, Answer
from ggufvlm.tools.bench.server import started as peer_started
from tests.support.running import Running, encoded, image, started, user
from tests.support.scenes import random_scene

DEMO = Path(ggufvlm.__file__).parent / "demo"
QUESTIONS = ("Describe this image.", "What is on the left?", "How many blocks are there?", "Detect all objects.")
TIE = 0.1  # nats
HUGE = 70_000_000
"""Pixels of an image that is refused."""


@dataclass(frozen=True)
class Case:
    """A question with its answer."""

    body: bytes
    streamed: bytes
    answer: str


@dataclass
class Score:
    """What came of a run.

    Attributes:
        seconds: of the good requests, from sending to the last byte.
        firsts: of those that stream, to the first text.
        outcomes: how many of each kind.
        wrong: answers that are not those of their image.
    """

    seconds: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def line(self, name: str, duration: float) -> str:
        if len(self.seconds) < 2:
            return f"{name}: no answers"
        cuts, firsts = quantiles(self.seconds, n=100), quantiles(self.firsts, n=100)
        return (
            f"{name}: {len(self.seconds)} answers, {len(self.seconds) / duration:.1f} a second, "
            f"p50 {cuts[49] * 1e3:.0f} ms, p95 {cuts[94] * 1e3:.0f} ms, "
            f"first text p50 {firsts[49] * 1e3:.0f} ms, p95 {firsts[94] * 1e3:.0f} ms, {len(self.wrong)} wrong"
        )


def make_cases(rng: random.Random, n_scenes: int) -> list[Case]:
    """Scenes of many sizes, with what the model says of them alone.

    Where two words are nearly as probable, company in the batch may decide otherwise: such scenes are left out.
    """
    cases: list[Case] = []
    with VLM.load("demo") as vlm:
        while len(cases) < n_scenes:
            width, height = rng.randint(140, 700), rng.randint(140, 500)
            scene, question = random_scene(rng, width, height), rng.choice(QUESTIONS)
            data = encoded(scene.draw(width, height), rng.choice(("PNG", "JPEG")))  # llama-server reads no WebP
            answer = vlm.describe(data, question, max_tokens=200, logprobs=2)
            if question != "Detect all objects." and not is_clear(answer):
                continue
            body = {"model": "demo", "messages": user(image(data), question), "temperature": 0, "max_tokens": 200}
            streamed = json.dumps({**body, "stream": True}).encode()
            cases.append(Case(json.dumps(body).encode(), streamed, answer.text))
    return cases


def is_clear(answer: Answer) -> bool:
    return all(token.top[0][1] - token.top[1][1] > TIE for token in answer.logprobs or ())


Client = Callable[[httpx.AsyncClient, random.Random, list[Case], Score], Awaitable[None]]


async def plain(client: httpx.AsyncClient, rng: random.Random, cases: list[Case], score: Score) -> None:
    case, began = rng.choice(cases), time.perf_counter()
    answer = await client.post("/v1/chat/completions", content=case.body)
    score.outcomes[f"plain {answer.status_code}"] += 1
    if answer.status_code == 429:
        await asyncio.sleep(0.2)
    elif answer.status_code == 200:
        score.seconds.append(time.perf_counter() - began)
        compare(answer.json()["choices"][0]["message"]["content"], case, score)


async def stream(client: httpx.AsyncClient, rng: random.Random, cases: list[Case], score: Score) -> None:
    case, began, said, first = rng.choice(cases), time.perf_counter(), "", None
    async with client.stream("POST", "/v1/chat/completions", content=case.streamed) as answer:
        score.outcomes[f"stream {answer.status_code}"] += 1
        if answer.status_code != 200:
            await asyncio.sleep(0.2)
            return
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:]).get("choices") or [{"delta": {}}]
                said += choices[0]["delta"].get("content") or ""
                first = first or (time.perf_counter() - began if said else None)
    score.seconds.append(time.perf_counter() - began)
    score.firsts.append(first or 0.0)
    compare(said, case, score)


def compare(said: str, case: Case, score: Score) -> None:
    if essence(said) != essence(case.answer):
        score.wrong.append(f"{case.answer!r} -> {said!r}")


def essence(answer: str) -> object:
    """What cannot be a matter of rounding: of boxes their labels, where a corner is often a near tie of two tokens."""
    try:
        return [box["label"] for box in json.loads(answer)]
    except (ValueError, TypeError, KeyError):
        return answer


async def hang_up(client: httpx.AsyncClient, rng: random.Random, cases: list[Case], score: Score) -> None:
    case = rng.choice(cases)
    content, patience = rng.choice((case.body, case.streamed)), rng.uniform(0.001, 0.4)
    try:
        await asyncio.wait_for(client.post("/v1/chat/completions", content=content), patience)
        score.outcomes["was quicker than the hanging up"] += 1
    except asyncio.TimeoutError:
        score.outcomes["hung up"] += 1


async def bad_body(client: httpx.AsyncClient, rng: random.Random, cases: list[Case], score: Score) -> None:
    body = bytearray(rng.choice(cases).body)
    for _ in range(rng.randint(1, 8)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    content = rng.choice((bytes(body), bytes(body[: rng.randrange(len(body))]), b"", b"[" * 10_000, rng.randbytes(999)))
    answer = await client.post("/v1/chat/completions", content=content)
    score.outcomes[f"bad body {answer.status_code}"] += 1


def make_huge() -> list[bytes]:
    """Bodies with images of too many pixels, a body that is too long, and one that is just allowed."""
    wide = encoded(Image.new("L", (10_000, HUGE // 10_000)))
    large = encoded(Image.effect_noise((4000, 3000), 40), "JPEG")
    bodies = [json.dumps({"messages": user(image(data), "What?"), "max_tokens": 4}).encode() for data in (wide, large)]
    return [*bodies, json.dumps({"messages": user(image(large * 20), "What?")}).encode()]


async def at_once(url: str, clients: list[Client], seconds: float, cases: list[Case], seed: int) -> Score:
    """Run clients side by side, each one request after the other."""
    score, end = Score(), time.monotonic() + seconds

    async def run(number: int, act: Client) -> None:
        rng = random.Random(seed + number)
        headers = {"Content-Type": "application/json"}
        # a connection for each request: llama-server sometimes closes one just when the next request comes
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=url, timeout=120, trust_env=False, headers=headers, limits=once
        ) as client:
            while time.monotonic() < end:
                await act(client, rng, cases, score)

    await asyncio.gather(*(run(number, act) for number, act in enumerate(clients)))
    return score


def crowd(n_clients: int) -> list[Client]:
    """Three in four are good."""
    huge = make_huge()

    async def huge_body(client: httpx.AsyncClient, rng: random.Random, _cases: list[Case], score: Score) -> None:
        try:
            answer = await client.post("/v1/chat/completions", content=rng.choice(huge))
            score.outcomes[f"huge {answer.status_code}"] += 1
        except httpx.TransportError:
            score.outcomes["huge, cut off"] += 1
        await asyncio.sleep(0.5)

    kinds: list[Client] = [plain, stream, stream, plain, hang_up, stream, bad_body, plain]
    return [huge_body if number == 0 else kinds[number % len(kinds)] for number in range(n_clients)]


def resident(server: Running) -> list[int]:
    """Bytes of the server and of its model that are in memory (Linux)."""
    found = []
    for pid in (server.process.pid, *server.children):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found.append(next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:")))
    return found


def run_ours(options: argparse.Namespace, cases: list[Case]) -> bool:
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), "--preload", "--queue", "64", "-q") as server:
        good: list[Client] = [stream if number % 2 else plain for number in range(options.clients)]
        clients = crowd(options.clients)
        asyncio.run(at_once(server.url, clients, options.seconds / 4, cases, options.seed))
        before = resident(server)
        mixed = asyncio.run(at_once(server.url, clients, options.seconds, cases, options.seed + 100))
        server.wait_for("ggufvlm_running", 0)
        server.wait_for("ggufvlm_queue_length", 0)
        after = resident(server)
        alone = asyncio.run(at_once(server.url, good, options.seconds / 2, cases, options.seed + 200))
        print(mixed.line("ggufvlm, good and bad", options.seconds))
        print("  " + ", ".join(f"{name}: {count}" for name, count in sorted(mixed.outcomes.items())))
        for name, early, late in zip(("server", "model"), before, after, strict=True):
            print(f"  memory of the {name}: {early / 1e6:.0f} MB after a quarter, {late / 1e6:.0f} MB after all")
        print(alone.line("ggufvlm, good alone", options.seconds / 2))
        crashes = server.number("ggufvlm_engine_crashes_total")
        errors = [name for name in mixed.outcomes if name.split()[-1].startswith("5")]
        wrong = mixed.wrong + alone.wrong
        for text in wrong[:5]:
            print(f"  wrong: {text}")
        print(f"  crashes {crashes:.0f}; errors of the server: {errors or 'none'}; log: {len(server.text())} bytes")
        return not wrong and not crashes and not errors and sum(after) < 1.2 * sum(before) + 50e6


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[str]:
    arguments = ["-m", DEMO / "tiny-qwen2vl-Q8_0.gguf", "--mmproj", DEMO / "mmproj-tiny-qwen2vl-F16.gguf"]
    arguments += ["--image-min-tokens", "16", "--image-max-tokens", "42"]  # what the model was trained for
    with peer_started(options.peer, [*arguments, "-np", "4", "-c", "4096", "-t", "2"]) as server:
        yield str(server._client.base_url)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=96, help="images; few of them come again and again")
    parser.add_argument("--peer", type=Path, help="llama-server")
    options = parser.parse_args()
    cases = make_cases(random.Random(options.seed), options.scenes)
    is_well = run_ours(options, cases)
    if options.peer:
        with peer(options) as url:
            good: list[Client] = [stream if number % 2 else plain for number in range(options.clients)]
            theirs = asyncio.run(at_once(url, good, options.seconds / 2, cases, options.seed + 200))
        print(theirs.line("llama-server, good alone", options.seconds / 2))
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
