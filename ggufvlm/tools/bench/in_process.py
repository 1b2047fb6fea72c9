"""What is measured in this process, through the facade: images, and answers about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from ggufvlm.config import Priority, SamplingSettings
from ggufvlm.errors import EngineError
from ggufvlm.tools.bench.images import variant, variants
from ggufvlm.tools.bench.job import BenchJob, Measured, Say
from ggufvlm.vlm.answer import Answer, SeenImage
from ggufvlm.vlm.map import Question
from ggufvlm.vlm.request import question
from ggufvlm.vlm.vlm import VLM

if TYPE_CHECKING:
    from ggufvlm.media import Image

BATCH_SLOTS = 4
IMAGES_PER_SLOT = 2


def fixed_work(n_tokens: int) -> SamplingSettings:
    """Exactly this many tokens, always the most probable one."""
    return {
        "max_tokens": n_tokens,
        "temperature": 0.0,
        "repeat_penalty": 1.0,
        "repetition_guard": False,
        "ignore_eos": True,
    }


@contextmanager
def loaded(job: BenchJob, *, n_slots: int = 1, priority: Priority = "latency") -> Iterator[VLM]:
    """The model, without caches on disk: what is measured with it is computed."""
    config = replace(job.config, n_slots=n_slots, priority=priority, use_cache=False)
    with VLM(job.files, config) as vlm:
        vlm.wait_until_loaded()
        yield vlm


def look(job: BenchJob) -> SeenImage:
    """How the model sees the image, found out without encoding it."""
    with loaded(job) as vlm:
        plan = vlm.handler.image_plan(job.image.width, job.image.height)
        n_tokens = vlm.measure(question([job.image], "What is this?")).n_images[0]
    return SeenImage(
        source=job.image.source,
        id=job.image.id,
        width=job.image.width,
        height=job.image.height,
        seen_width=plan.width,
        seen_height=plan.height,
        n_tokens=n_tokens,
    )


def measure_encode(job: BenchJob, say: Say) -> Measured:
    """Encoding: an image that was never seen, each time."""
    milliseconds, per_1000 = [], []
    with loaded(job) as vlm:
        for index in job.runs():
            say(f"encoding an image: {index} of {job.repeat}")
            answer = ask(vlm, variant(job.image, index), "What is this?", 1)
            if not answer.usage.n_images_encoded:
                raise EngineError("a new image was not encoded")
            milliseconds.append(1e3 * answer.times.encode)
            per_1000.append(1e3 * milliseconds[-1] / job.n_patches(answer.images[0]))
    return {"encode_image": milliseconds[1:], "encode_1000_patches": per_1000[1:]}


def measure_warm(job: BenchJob, say: Say) -> Measured:
    """The first token of another question about an image, in the same process."""
    seconds = []
    with loaded(job) as vlm:
        ask(vlm, job.image, "What is this?", 1)
        for index in job.runs():
            say(f"asking again in the same process: {index} of {job.repeat}")
            first = ask(vlm, job.image, f"What is at place {index}?", 1).times.first_token
            assert first is not None
            seconds.append(first)
    return {"first_token_warm": seconds[1:]}


def measure_batch(job: BenchJob, say: Say) -> Measured:
    """Different images with one question each, as many at a time as there are slots."""
    count = IMAGES_PER_SLOT * BATCH_SLOTS
    speeds = []
    with loaded(job, n_slots=BATCH_SLOTS, priority="throughput") as vlm:
        for index in job.runs():
            say(f"{count} images in {BATCH_SLOTS} slots: {index} of {job.repeat}")
            images = variants(job.image, count, first=count * index)
            speeds.append(count / map_all(vlm, [(image, "What is this?") for image in images], job.n_tokens))
    return {"batch": speeds[1:]}


def ask(vlm: VLM, image: Image, prompt: str, n_tokens: int) -> Answer:
    """One answer of exactly ``n_tokens``."""
    return vlm.describe(image, prompt, **fixed_work(n_tokens))


def map_all(vlm: VLM, asked: Sequence[tuple[Image | bytes, str]], n_tokens: int) -> float:
    """Seconds that it takes to answer all questions through ``VLM.map``, each with ``n_tokens``.

    Raises:
        GGUFVLMError: one of them failed.
    """
    began = perf_counter()
    questions = [Question(prompt=prompt, images=image, settings=fixed_work(n_tokens)) for image, prompt in asked]
    for result in vlm.map(questions):
        if result.error is not None:
            raise result.error
    return perf_counter() - began
