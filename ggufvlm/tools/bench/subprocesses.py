"""What is measured from outside: processes of their own, from their start to the first word."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.media import Image, save
from ggufvlm.tools.bench.job import BenchJob, Measured, Say
from ggufvlm.tools.bench.processes import FinishedProgram, run
from ggufvlm.workers.launch import command


def measure_cold(job: BenchJob, say: Say) -> Measured:
    """The first token of a new process that knows nothing about the image, and the memory of such a process."""
    seconds, megabytes = [], []
    with saved(job.image) as image:
        for index in job.runs():
            say(f"a new process without caches: {index} of {job.repeat}")
            done = describe(job, image, "What is this?", use_cache=False)
            seconds.append(first_of(done))
            if done.peak is not None:
                megabytes.append(done.peak / 1e6)
    return {"first_token_cold": seconds[1:], "memory_peak": megabytes[1:]}


def measure_disk(job: BenchJob, say: Say) -> Measured:
    """The first token of a new process, when an earlier one has looked at the image."""
    seconds = []
    with saved(job.image) as image:
        for index in job.runs():  # the run that does not count fills the caches
            say(f"a new process with caches: {index} of {job.repeat}")
            seconds.append(first_of(describe(job, image, f"What is at place {index}?", use_cache=True)))
    return {"first_token_disk": seconds[1:]}


@contextmanager
def saved(image: Image) -> Iterator[Path]:
    """The image as a PNG file."""
    with tempfile.TemporaryDirectory(prefix="ggufvlm-") as folder:
        path = Path(folder) / "image.png"
        save(image, path)
        yield path


def describe(
    job: BenchJob, image: Path, prompt: str, *, use_cache: bool, n_tokens: int | None = None
) -> FinishedProgram:
    """``ggufvlm describe`` with a prompt, as a process.

    Raises:
        EngineError: it failed.
    """
    words = ["describe", str(image), "-p", prompt, "--stats"]
    words += ["-m", str(job.files.model), "--mmproj", str(job.files.mmproj)]
    words += ["-n", str(n_tokens or job.n_tokens), "--temp", "0", "--no-repetition-guard", *arguments(job.config)]
    return run(command("ggufvlm.cli.main", *words, *(() if use_cache else ("--no-cache",))))


def arguments(config: EngineConfig) -> list[str]:
    """The options that make this configuration."""
    options = {
        "-c": config.n_ctx,
        "-t": config.n_threads,
        "-ngl": "all" if config.n_gpu_layers == -1 else config.n_gpu_layers,
        "-fa": config.flash_attention,
        "-ctk": config.cache_type_k,
        "-ctv": config.cache_type_v,
        "--image-min-tokens": config.image_min_tokens,
        "--image-max-tokens": config.image_max_tokens,
    }
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    return given if config.mmproj_offload else [*given, "--no-mmproj-offload"]


def first_of(done: FinishedProgram) -> float:
    """Seconds to the first byte.

    Raises:
        EngineError: nothing was said.
    """
    if done.first is None:
        raise EngineError("the model answered nothing, so there is no time to its first token")
    return done.first
