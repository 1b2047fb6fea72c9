"""In which type does this CPU compute projectors fastest? Measured, with a projector of random weights.

BF16 has instructions of its own in some CPUs (AVX512_BF16, AMX), and llama.cpp uses them if it was built with them.
That they win is not certain: it hangs on the library's kernels and on the CPU. So both types are timed, alternately, on
matrices in the shape of a real tower, and the result is kept for this library on this CPU.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.cache.folder import read_note, write_note
from ggufvlm.errors import EngineError, ModelError
from ggufvlm.gguf.convert import BF16, F16, F32, TYPES, convert
from ggufvlm.gguf.writer import NewTensor, encode_value, write_gguf
from ggufvlm.llama.cancellation import CancelToken, LoadAborted

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

N_RUNS = 10
# the tower of Qwen2-VL, with one of its 32 blocks, and an image of 256 patches
WIDTH, N_FF, N_HEADS, N_BLOCKS, PATCH, SIDE = 1280, 5120, 16, 1, 14, 224
_N_RANDOM = 1 << 16


def bf16_speedup(
    *,
    remember: bool = True,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    cancel: CancelToken | None = None,
) -> float | None:
    """How many times as fast as in F16 this CPU encodes in BF16; measured once per library and CPU, in about a second.

    Args:
        remember: whether the result may be written to the cache.
        on_progress: takes the finished fraction of the runs, 0 to 1.
        cancel: stops measuring.

    Returns:
        None where it could not be measured.

    Raises:
        LoadAborted: ``cancel`` was cancelled.
    """
    name = f"bf16-speedup-{_machine_id()}"
    known = _parse(read_note(name) or "")
    if known is not None:
        return known
    measured = run_probe(on_progress, cancel)
    if measured is not None and remember:
        write_note(name, f"{measured:.2f}")
    return measured


def _machine_id() -> str:
    from ggufvlm.hardware.cpu import cpu_flags
    from ggufvlm.llama.devices import list_devices
    from ggufvlm.llama.probe import library_fingerprint

    # virtual machines hide the CPU's name, but not what it can
    names = [device.description for device in list_devices() if device.kind == "cpu"]
    parts = [library_fingerprint(), *names, *sorted(cpu_flags() or ())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _parse(note: str) -> float | None:
    return float(note) if note.replace(".", "", 1).isdecimal() and 0 < float(note) < 100 else None


def run_probe(
    on_progress: Callable[[float], None] = lambda _fraction: None, cancel: CancelToken | None = None
) -> float | None:
    """Measure, whatever is known already.

    Raises:
        LoadAborted: ``cancel`` was cancelled.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ggufvlm-") as folder:
            paths = {name: Path(folder) / f"{name}.gguf" for name in ("F16", "BF16")}
            for name, path in paths.items():
                write_probe(path, TYPES[name])
            seconds = _best_times(paths, on_progress, cancel)
    except LoadAborted:
        raise
    except (ModelError, EngineError, OSError) as error:
        logger.warning("the speed of projectors could not be measured: %s", error)
        return None
    logger.info("a random projector takes %s", ", ".join(f"{1e3 * s:.0f} ms in {name}" for name, s in seconds.items()))
    return seconds["F16"] / seconds["BF16"]


def _best_times(
    paths: Mapping[str, Path], on_progress: Callable[[float], None], cancel: CancelToken | None
) -> dict[str, float]:
    """The shortest of several times for each file, in seconds: what else the machine does only adds to it."""
    from ggufvlm.config import EngineConfig
    from ggufvlm.hardware.cpu import default_threads
    from ggufvlm.llama.chunks import ImageInput
    from ggufvlm.llama.probe import encoder
    from ggufvlm.models.resolve import find_model

    model = find_model("demo", fetch=None).model  # any will do, and this one's vocabulary is short
    image = ImageInput("0", SIDE, SIDE, bytes(3 * SIDE * SIDE))
    config, n_threads = EngineConfig(mmproj_offload=False), default_threads()
    best = dict.fromkeys(paths, float("inf"))
    with ExitStack() as stack:
        encoders = {
            name: stack.enter_context(encoder(model, path, image, config, n_threads=n_threads, cancel=cancel))[0]
            for name, path in paths.items()
        }
        for encode in encoders.values():
            encode()  # allocates and wakes the threads
        for run in range(N_RUNS):
            on_progress(run / N_RUNS)
            for name, encode in encoders.items():
                began = time.perf_counter()
                encode()
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def write_probe(path: Path, ggml_type: int) -> None:
    """Write a projector of random weights for the built-in model, with its matrices in F16 or BF16."""
    from ggufvlm.gguf.header import read_header
    from ggufvlm.models.resolve import find_model

    model = read_header(find_model("demo", fetch=None).model, stop_at_vocabulary=True)
    width = model.integer(f"{model.architecture}.embedding_length") or 0
    with path.open("wb") as file:
        write_gguf(file, _pairs(width), _tensors(width, ggml_type))


def _pairs(width: int) -> dict[str, bytes]:
    whole = {"embedding_length": WIDTH, "feed_forward_length": N_FF, "block_count": N_BLOCKS, "image_size": SIDE}
    whole |= {"attention.head_count": N_HEADS, "projection_dim": width, "patch_size": PATCH}
    return {
        "general.architecture": encode_value("string", "clip"),
        "clip.projector_type": encode_value("string", "mlp"),
        "clip.has_vision_encoder": encode_value("bool", True),
        "clip.use_gelu": encode_value("bool", True),
        "clip.vision.feature_layer": encode_value("[int32]", [N_BLOCKS]),
        "clip.vision.attention.layer_norm_epsilon": encode_value("float32", 1e-5),
        "clip.vision.image_mean": encode_value("[float32]", [0.5] * 3),
        "clip.vision.image_std": encode_value("[float32]", [0.5] * 3),
        **{f"clip.vision.{key}": encode_value("uint32", value) for key, value in whole.items()},
    }


def _tensors(width: int, ggml_type: int) -> list[NewTensor]:
    import numpy as np

    few = np.random.default_rng(0).normal(0, 0.02, _N_RANDOM).astype("<f2")
    numbers = {F16: few.tobytes(), ggml_type: bytes(convert(few.tobytes(), F16, BF16)) if ggml_type == BF16 else b""}
    numbers[F16] = few.tobytes()

    def random(name: str, shape: tuple[int, ...], ggml_type: int) -> NewTensor:
        count = int(np.prod(shape))  # the same few again and again: arithmetic takes no shorter for it
        return NewTensor(
            name=name,
            shape=shape,
            ggml_type=ggml_type,
            data=lambda: (numbers[ggml_type] * -(-count // _N_RANDOM))[: 2 * count],
        )

    def vector(name: str, length: int, value: float) -> NewTensor:
        data: NDArray[Any] = np.full(length, value, "<f4")
        return NewTensor(name=name, shape=(length,), ggml_type=F32, data=data.tobytes)

    tensors = [
        random("v.patch_embd.weight", (PATCH, PATCH, 3, WIDTH), F16),
        random("v.position_embd.weight", (WIDTH, (SIDE // PATCH) ** 2), F16),
        random("mm.0.weight", (WIDTH, WIDTH), ggml_type),
        vector("mm.0.bias", WIDTH, 0),
        random("mm.2.weight", (WIDTH, width), ggml_type),
        vector("mm.2.bias", width, 0),
    ]
    for block in (f"v.blk.{index}" for index in range(N_BLOCKS)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"):
            n_in, n_out = (N_FF if part == "ffn_down" else WIDTH), (N_FF if part == "ffn_up" else WIDTH)
            tensors += [
                random(f"{block}.{part}.weight", (n_in, n_out), ggml_type),
                vector(f"{block}.{part}.bias", n_out, 0),
            ]
        for norm in ("ln1", "ln2"):
            tensors += [vector(f"{block}.{norm}.weight", WIDTH, 1), vector(f"{block}.{norm}.bias", WIDTH, 0)]
    return tensors
