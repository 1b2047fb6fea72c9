"""Engines of the built-in model, prompts for it, and answers with the certainty of each of their tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ggufvlm
from ggufvlm.config import EngineConfig, SamplingParams
from ggufvlm.engine.engine import Engine
from ggufvlm.engine.request import ImagePart, Part, Request, TextPart
from ggufvlm.engine.runner import Runner
from ggufvlm.engine.sequence import Sequence
from ggufvlm.engine.snapshots import Snapshots
from ggufvlm.engine.task import Output
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget
from tests.support.scenes import random_scene

FOLDER = Path(ggufvlm.__file__).parent / "demo"
DEMO = FOLDER / "tiny-qwen2vl-Q8_0.gguf"
GREEDY = SamplingParams(max_tokens=60)
TIE = 0.1
"""Logits that lie closer than this may change places when the same rows are computed in another batch."""

MakeEngine = Callable[..., Engine]


def make_engine(weights: Path = DEMO, snapshots: Snapshots | None = None, **settings: Any) -> Engine:
    config = EngineConfig(**settings)
    model = Model.load(weights)
    budget = TokenBudget(minimum=1, maximum=4096)
    projector = Projector(FOLDER / "mmproj-tiny-qwen2vl-F16.gguf", model, config, budget, 2)
    return Engine(Runner(model, projector, config, n_threads=2), config, snapshots=snapshots)


def image(seed: int, width: int = 196, height: int = 140) -> ImagePart:
    rgb = random_scene(random.Random(seed), width, height).draw(width, height).tobytes()
    return ImagePart(f"scene-{seed}-{width}x{height}", f"{seed}.png", width, height, lambda: rgb)


def prompt(*turns: tuple[Part | str, ...]) -> tuple[Part, ...]:
    """ChatML: user turns, the assistant's answers between them."""
    parts: list[Part] = [TextPart("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", trusted=True)]
    for number, turn in enumerate(turns):
        role = "user" if number % 2 == 0 else "assistant"
        parts.append(TextPart(f"<|im_start|>{role}\n", trusted=True))
        parts += [TextPart(item) if isinstance(item, str) else item for item in turn]
        parts.append(TextPart("<|im_end|>\n", trusted=True))
    return (*parts, TextPart("<|im_start|>assistant\n", trusted=True))


def run(engine: Engine, parts: tuple[Part, ...], **sampling: Any) -> tuple[str, Sequence]:
    """Answer one prompt, one step after the other."""
    sequence = add(engine, parts, **sampling)
    texts = finish(engine)
    return texts[sequence.id], sequence


def add(engine: Engine, parts: tuple[Part, ...], **sampling: Any) -> Sequence:
    return engine.add(Request(parts=parts, sampling=replace(GREEDY, **sampling)))


def finish(engine: Engine) -> dict[int, str]:
    """Step until all is said; texts by sequence."""
    texts: dict[int, str] = {}
    while not engine.is_idle:
        collect(engine.step(), texts)
        engine.check()
    return texts


def collect(outputs: list[Output], texts: dict[int, str]) -> None:
    for output in outputs:
        if output.error:
            raise output.error
        texts[output.sequence.id] = texts.get(output.sequence.id, "") + output.text


@dataclass
class Known:
    """A prompt's answer when it is alone, and the lead of each token over the next best."""

    parts: tuple[Part, ...]
    tokens: list[int]
    leads: list[float]

    def assert_same(self, tokens: list[int]) -> None:
        """The same tokens, as far as they are longer than a tie."""
        for at, (one, other) in enumerate(zip(self.tokens, tokens, strict=False)):
            if one != other:
                assert self.leads[at] < TIE, f"token {at} is {other} and not {one}, which leads by {self.leads[at]:.2f}"
                return
        assert len(tokens) == len(self.tokens) or self.leads[min(len(tokens), len(self.leads) - 1)] < TIE


def know(engine: Engine, parts: tuple[Part, ...], **sampling: Any) -> Known:
    """Answer a prompt alone, in an engine with one slot."""
    leads: list[float] = []
    runner = engine._runner
    sample = runner.sample

    def spy(sampler: Any, row: int) -> int:
        second, first = np.sort(runner.context.logits(row))[-2:]
        leads.append(float(first - second))
        return sample(sampler, row)

    runner.sample = spy
    try:
        _, sequence = run(engine, parts, **sampling)
    finally:
        del runner.sample
    return Known(parts, list(sequence.generated), leads)


def first_logits(engine: Engine, parts: tuple[Part, ...]) -> np.ndarray:
    """Logits of the first token of the answer: of the last row of prefill."""
    taken: list[np.ndarray] = []
    runner = engine._runner
    sample = runner.sample

    def spy(sampler: Any, row: int) -> int:
        taken.append(runner.context.logits(row).copy())
        return sample(sampler, row)

    runner.sample = spy
    try:
        run(engine, parts, max_tokens=1)
    finally:
        del runner.sample
    return taken[0]
