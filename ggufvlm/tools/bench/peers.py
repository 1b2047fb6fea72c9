"""llama.cpp's own programs: where they are, and the flags that make a comparison fair.

Same files, threads, types and image; what would only slow them down is off (fitting to memory, warming up, a context
as long as the model was trained for).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ggufvlm.errors import UsageError
from ggufvlm.tools.bench.job import BenchJob

MTMD_CLI, BENCH, SERVER = "llama-mtmd-cli", "llama-bench", "llama-server"
N_CTX = 4096
_DEFAULT_IMAGE_TOKENS = 1024


def find_program(folder: Path, name: str) -> Path:
    """A program in a folder.

    Raises:
        UsageError: it is not there, or cannot be executed.
    """
    path = folder / (f"{name}.exe" if sys.platform == "win32" else name)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UsageError(f"no {name} in {folder}")
    return path.resolve()


def mtmd_command(program: Path, job: BenchJob, image: Path, prompt: str, n_tokens: int) -> list[str | Path]:
    """``llama-mtmd-cli`` with one question; its stdout is the answer alone."""
    return [
        *(program, "-m", job.files.model, "--mmproj", job.files.mmproj, "--image", image, "-p", prompt),
        *("-n", str(n_tokens), "--ignore-eos", "--temp", "0", "-s", "1", "--no-warmup", "-lv", "0"),
        *_shared(job, N_CTX),
    ]


def server_arguments(job: BenchJob, *, n_slots: int, n_ctx: int, slot_folder: Path | None = None) -> list[str | Path]:
    """What ``llama-server`` gets besides its address."""
    arguments: list[str | Path] = ["-m", job.files.model, "--mmproj", job.files.mmproj, "-np", str(n_slots), "-kvu"]
    arguments += ["--no-warmup", "--no-ui", *_shared(job, n_ctx)]
    return arguments if slot_folder is None else [*arguments, "--slot-save-path", f"{slot_folder}{os.sep}"]


def bench_command(program: Path, job: BenchJob, *, n_prompt: int, n_generated: int) -> list[str | Path]:
    """``llama-bench``, one run, as JSON."""
    config = job.config
    return [
        *(program, "-m", job.files.model, "-p", str(n_prompt), "-n", str(n_generated), "-r", "1", "-o", "json"),
        *("-t", str(job.n_threads), "-ngl", _layers(job), "-fa", "off" if config.flash_attention == "off" else "on"),
        *("-ctk", config.cache_type_k, "-ctv", config.cache_type_v, "-ub", str(config.n_ubatch)),
    ]


def _shared(job: BenchJob, n_ctx: int) -> list[str]:
    config, threads = job.config, str(job.n_threads)
    flags = ["-c", str(max(n_ctx, config.n_ctx or 0)), "-b", "2048", "-ub", str(config.n_ubatch)]
    flags += ["-t", threads, "-tb", threads, "-fa", "off" if config.flash_attention == "off" else "on"]
    flags += ["-ctk", config.cache_type_k, "-ctv", config.cache_type_v, "-fit", "off", "--jinja"]
    flags += ["-ngl", _layers(job), "--image-max-tokens", str(config.image_max_tokens or _DEFAULT_IMAGE_TOKENS)]
    if config.image_min_tokens:
        flags += ["--image-min-tokens", str(config.image_min_tokens)]
    return flags if config.mmproj_offload and _layers(job) != "0" else [*flags, "--no-mmproj-offload"]


def _layers(job: BenchJob) -> str:
    from ggufvlm.llama.devices import list_devices

    if not any(device.is_gpu for device in list_devices()):
        return "0"
    wanted = job.config.n_gpu_layers
    return "999" if wanted is None or wanted < 0 else str(wanted)
