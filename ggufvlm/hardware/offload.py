"""Before loading: does it fit, and how much of it onto a GPU? The answer is a changed EngineConfig, or an EngineError.

:func:`choose_layers` and :func:`check_fits` are pure; :func:`plan_offload` looks at the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.gguf.convert import converted_header
from ggufvlm.hardware.memory import MemoryPrediction, predict

if TYPE_CHECKING:
    from ggufvlm.hardware.devices import Device

GPU_MARGIN = 1 << 30
"""Left free on each GPU: for the driver, the desktop and what the prediction misses."""
PROCESS = 192 << 20
"""Python, the libraries, a vocabulary and a decoded photograph."""
_MIN_CTX, _ORDINARY_CTX = 1024, 8192
_MAX_CONSTANT_COMPUTE = 512 << 20
_COMFORTABLE = 0.6  # what stays below this fraction of the free memory needs no closer look


class KnownFile(Protocol):
    """A file that the registry knows, for the advice in errors."""

    @property
    def name(self) -> str: ...
    @property
    def quant(self) -> str: ...
    @property
    def size(self) -> int | None: ...


class KnownModel(Protocol):
    """An entry of the registry, for the advice in errors: :class:`~ggufvlm.models.schema.ModelSpec`."""

    @property
    def id(self) -> str: ...
    @property
    def files(self) -> Sequence[KnownFile]: ...
    @property
    def projectors(self) -> Sequence[KnownFile]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class OffloadPlan:
    """What to load with.

    Attributes:
        config: the given one with ``n_gpu_layers`` and ``mmproj_offload`` settled.
        prediction: None where it was plain without one: no GPU, and plenty of memory.
        projector_on_cpu: no GPU computes the projector.
        refusal: why the projector as it was published cannot be loaded; derived in Q8_0 it fits, as predicted.
    """

    config: EngineConfig
    prediction: MemoryPrediction | None = None
    projector_on_cpu: bool = True
    refusal: EngineError | None = None

    def with_fewer_layers(self) -> OffloadPlan | None:
        """The next thing to try when loading failed for want of GPU memory; None if all is on the CPU already."""
        n_gpu_layers = self.config.n_gpu_layers
        if not n_gpu_layers:
            return None
        if n_gpu_layers < 0:
            n_gpu_layers = len(self.prediction.layers) + 1 if self.prediction else 0
        fewer = 3 * n_gpu_layers // 4 if n_gpu_layers > 3 else 0
        return replace(self, config=replace(self.config, n_gpu_layers=fewer))


def plan_offload(
    model: Path, mmproj: Path, config: EngineConfig, devices: Sequence[Device], spec: KnownModel | None = None
) -> OffloadPlan:
    """Settle what ``-ngl auto`` means here, and refuse what cannot fit.

    Costs a few system calls where there is no GPU and memory is plentiful. Else both headers are read, some 30 ms.

    Args:
        model: the language model; of a split one its first part.
        mmproj: the projector.
        config: ``n_gpu_layers=None`` asks for a choice; in the plan it is a number.
        devices: what layers can be put on, from :func:`ggufvlm.llama.devices.offload_devices`.
        spec: what the registry knows, for the advice in the error.

    Raises:
        EngineError: it cannot fit into this machine's memory.
        ModelError: a header is damaged.
    """
    from ggufvlm.gguf.header import read_header
    from ggufvlm.gguf.names import split_parts
    from ggufvlm.hardware.system import available_memory

    parts = split_parts(model)
    free = available_memory()
    gpus = usable_gpus(devices)
    if not gpus and (free is None or _is_plainly_enough(parts, mmproj, config, free)):
        return OffloadPlan(config=replace(config, n_gpu_layers=config.n_gpu_layers or 0))
    headers, projector = [read_header(part) for part in parts], read_header(mmproj)
    prediction = predict(headers, projector, config)
    config = _with_layers(config, prediction, gpus)
    plan = OffloadPlan(config=config, prediction=prediction, projector_on_cpu=not gpus or not config.mmproj_offload)
    if free is None or any(gpu.shares_memory for gpu in gpus):
        return plan
    room = free + (bytes_on_gpu(prediction, config) if gpus else 0)
    try:
        check_fits(prediction, room, spec, config, model.name)
    except EngineError as refusal:
        smaller = predict(headers, converted_header(projector, "Q8_0"), config)
        if not plan.projector_on_cpu or not can_shrink(prediction, smaller, room, free):
            raise
        return replace(plan, prediction=smaller, refusal=refusal)
    return plan


def _with_layers(config: EngineConfig, prediction: MemoryPrediction, gpus: Sequence[Device]) -> EngineConfig:
    """The config with ``n_gpu_layers`` settled: as the user wants it, else as many as fit; none without a GPU."""
    if not gpus:
        return replace(config, n_gpu_layers=config.n_gpu_layers or 0)
    if config.n_gpu_layers is not None:
        return config
    mmproj_offload = config.mmproj_offload and projector_fits(prediction, gpus)
    n_gpu_layers = choose_layers(prediction, gpus, mmproj_offload=mmproj_offload)
    return replace(config, n_gpu_layers=n_gpu_layers, mmproj_offload=mmproj_offload)


def can_shrink(prediction: MemoryPrediction, smaller: MemoryPrediction, room: int, free: int) -> bool:
    """Whether a smaller projector makes the model fit, and the original fits alone, to be compared with it.

    Args:
        prediction, smaller: with the projector as published, and with the derived one.
        room: bytes for model and projector, a GPU's included.
        free: bytes of ordinary memory.
    """
    original = prediction.projector + prediction.projector_compute
    return smaller.total + PROCESS <= room and original + PROCESS <= free


def usable_gpus(devices: Sequence[Device]) -> list[Device]:
    """Those that llama.cpp spreads layers over: integrated ones only if there is no other."""
    return [device for device in devices if device.kind == "gpu"] or [device for device in devices if device.is_gpu][:1]


def _is_plainly_enough(parts: Sequence[Path], mmproj: Path, config: EngineConfig, free: int) -> bool:
    """A look at file sizes instead of headers. No model's cache is larger than its files at an ordinary length."""
    if (config.n_ctx or 0) > _ORDINARY_CTX or config.flash_attention == "off":
        return False
    files = sum(part.stat().st_size for part in (*parts, mmproj))
    return 2 * files + 2 * PROCESS < _COMFORTABLE * free


def choose_layers(
    prediction: MemoryPrediction, gpus: Sequence[Device], *, mmproj_offload: bool = True, margin: int = GPU_MARGIN
) -> int:
    """How many layers fit onto the GPUs, counted as ``-ngl`` counts: the output first, then layers from the last one.

    The projector goes before any layer: it profits most.

    Args:
        prediction: what the model takes.
        gpus: from :func:`usable_gpus`; one whose free memory is not known counts as full.
        mmproj_offload: whether the projector may go onto a GPU.
        margin: bytes to leave free on each GPU.
    """
    budget = _room(prediction, gpus, margin)
    if mmproj_offload and projector_fits(prediction, gpus, margin=margin):
        budget -= prediction.projector + prediction.projector_compute
    budget -= prediction.output_weights
    if budget < 0:
        return 0
    n_gpu_layers = 1
    for layer in reversed(prediction.layers):
        budget -= layer.weights + layer.kv
        if budget < 0:
            break
        n_gpu_layers += 1
    return n_gpu_layers


def projector_fits(prediction: MemoryPrediction, gpus: Sequence[Device], *, margin: int = GPU_MARGIN) -> bool:
    """Whether the projector fits onto the first GPU, which is where libmtmd puts it.

    Args:
        prediction: what the projector takes.
        gpus: from :func:`usable_gpus`; one whose free memory is not known counts as full.
        margin: bytes to leave free.
    """
    needed = prediction.projector + prediction.projector_compute
    return bool(gpus) and (gpus[0].free or 0) - margin >= needed


def _room(prediction: MemoryPrediction, gpus: Sequence[Device], margin: int) -> int:
    """Free memory of all GPUs for weights and cache: each keeps a margin and needs compute buffers of its own."""
    return sum(max(0, (gpu.free or 0) - margin - prediction.compute) for gpu in gpus)


def bytes_on_gpu(prediction: MemoryPrediction, config: EngineConfig) -> int:
    """What a config takes off ordinary memory."""
    n_gpu_layers = config.n_gpu_layers or 0
    if n_gpu_layers < 0:
        n_gpu_layers = len(prediction.layers) + 1
    n_layers = max(0, n_gpu_layers - 1)
    layers = prediction.layers[len(prediction.layers) - n_layers :] if n_layers else ()
    taken = sum(layer.weights + layer.kv for layer in layers)
    if n_gpu_layers and not prediction.tied_output:
        taken += prediction.output_weights
    if config.mmproj_offload and n_gpu_layers:
        taken += prediction.projector + prediction.projector_compute
    return taken


def fraction_on_gpu(prediction: MemoryPrediction, config: EngineConfig) -> float:
    """How much of what can lie on a GPU does so with a config, 0 to 1. The embeddings of tokens never do."""
    everything = replace(config, n_gpu_layers=-1, mmproj_offload=True)
    return bytes_on_gpu(prediction, config) / bytes_on_gpu(prediction, everything)


def check_fits(
    prediction: MemoryPrediction,
    free: int,
    spec: KnownModel | None = None,
    config: EngineConfig | None = None,
    name: str | None = None,
) -> None:
    """Raise if the model cannot fit.

    Args:
        prediction: what it takes.
        free: bytes there are for it.
        spec: the model's registry entry, for other quantizations.
        config: the settings, for the context size.
        name: what to call the model.

    Raises:
        EngineError: it cannot; the hint names a smaller quantization or context that would, if there is one.
    """
    needed = prediction.total + PROCESS
    if needed <= free:
        return
    name = spec.id if spec else name or "this model"
    needs = f"{name} needs {_gb(needed)} of memory with {prediction.n_ctx} tokens of context"
    files = [_smaller_quant(prediction, free, spec), _smaller_projector(prediction, free, spec)]
    context = _smaller_context(prediction, free)
    explicit = config is not None and config.n_ctx is not None
    found = [text for text in ([context, *files] if explicit else [*files, context]) if text]
    hint = " or ".join(found[:2]) + " would fit" if found else "a smaller model: `ggufvlm list` shows them with sizes"
    raise EngineError(f"{needs}, and {_gb(free)} are free", hint=hint)


def _smaller_context(prediction: MemoryPrediction, free: int) -> str | None:
    if not prediction.kv_per_cell:
        return None
    cache = prediction.n_ctx * prediction.kv_per_cell
    needed = prediction.total + PROCESS
    # scratch memory shrinks with the context, but for a part that does not: two guesses on the safe side
    as_now = (free - (needed - cache)) / prediction.kv_per_cell
    constant = min(prediction.compute, _MAX_CONSTANT_COMPUTE)
    per_cell = (cache + prediction.compute) / prediction.n_ctx
    in_proportion = (free - (needed - cache - prediction.compute) - constant) / per_cell
    n_ctx = int(max(as_now, in_proportion)) // 256 * 256
    return f"-c {n_ctx}" if _MIN_CTX <= n_ctx < prediction.n_ctx else None


def _smaller_quant(prediction: MemoryPrediction, free: int, spec: KnownModel | None) -> str | None:
    if spec is None:
        return None
    room = free - (prediction.total + PROCESS - prediction.weights)
    fitting = [file for file in spec.files if file.size is not None and file.size <= min(room, prediction.weights - 1)]
    best = max(fitting, key=lambda file: file.size or 0, default=None)
    return f"-m {spec.id}:{best.quant}" if best else None


def _smaller_projector(prediction: MemoryPrediction, free: int, spec: KnownModel | None) -> str | None:
    if spec is None:
        return None
    room = free - (prediction.total + PROCESS - prediction.projector)
    sizes = {file.name: file.size for file in spec.projectors if file.size is not None}
    fitting = [name for name, size in sizes.items() if size <= room]
    return f"--mmproj {max(fitting, key=lambda name: sizes[name])}" if fitting else None


def _gb(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
