from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.hardware import system
from ggufvlm.hardware.devices import Device
from ggufvlm.hardware.memory import LayerMemory, MemoryPrediction
from ggufvlm.hardware.offload import (
    PROCESS,
    OffloadPlan,
    bytes_on_gpu,
    check_fits,
    choose_layers,
    fraction_on_gpu,
    plan_offload,
    projector_fits,
    usable_gpus,
)
from ggufvlm.llama import devices
from ggufvlm.models.schema import FilePart, ModelFile, ModelSpec

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, MMPROJ = DEMO / "tiny-qwen2vl-Q8_0.gguf", DEMO / "mmproj-tiny-qwen2vl-F16.gguf"
MB, GB = 10**6, 10**9
# a model of 4 GB: ten layers of 300 MB, 100 MB of cache in each, and a projector of 1 GB
PREDICTION = MemoryPrediction(
    n_ctx=10_000,
    layers=(LayerMemory(weights=300 * MB, kv=100 * MB),) * 10,
    input_weights=500 * MB,
    output_weights=500 * MB,
    tied_output=False,
    kv_per_cell=100_000,
    compute=200 * MB,
    projector=1 * GB,
    projector_compute=100 * MB,
)


def _gpu(free: float, kind: devices.DeviceKind = "gpu", backend: str = "CUDA") -> Device:
    return Device(name="GPU", description="", kind=kind, backend=backend, free=int(free), total=int(free))


@pytest.mark.parametrize(
    ("free", "n_layers"),
    [
        (1.5 * GB, 0),  # margin and scratch alone take 1.2 GB
        (2.0 * GB, 1),  # the output only: the projector is too large
        (2.3 * GB, 0),  # the projector, which goes first, and then not even the output
        (2.9 * GB, 1),
        (2.8 * GB + 3 * 400 * MB, 4),
        (2.8 * GB + 10 * 400 * MB, 11),
        (80 * GB, 11),
    ],
)
def test_layers_are_filled_from_the_last_after_projector_and_output(free: float, n_layers: int) -> None:
    assert choose_layers(PREDICTION, [_gpu(free)], margin=1 * GB) == n_layers


def test_without_the_projector_more_layers_fit() -> None:
    gpus = [_gpu(4 * GB)]
    assert choose_layers(PREDICTION, gpus, margin=1 * GB) == 4
    assert choose_layers(PREDICTION, gpus, mmproj_offload=False, margin=1 * GB) == 6


def test_two_gpus_hold_more_and_each_keeps_its_margin() -> None:
    assert choose_layers(PREDICTION, [_gpu(4 * GB), _gpu(1.1 * GB)], margin=1 * GB) == 4
    assert choose_layers(PREDICTION, [_gpu(4 * GB), _gpu(4 * GB)], margin=1 * GB) == 11


def test_no_gpu_and_unknown_memory_mean_no_layers() -> None:
    unknown = Device(name="GPU", description="", kind="gpu", backend="Vulkan")
    assert choose_layers(PREDICTION, []) == choose_layers(PREDICTION, [unknown]) == 0
    assert not projector_fits(PREDICTION, [unknown])
    assert not projector_fits(PREDICTION, [])


def test_integrated_gpus_count_only_where_there_is_no_other() -> None:
    discrete, integrated, cpu = _gpu(GB), _gpu(GB, "igpu"), _gpu(GB, "cpu")
    assert usable_gpus([cpu, integrated, discrete]) == [discrete]
    assert usable_gpus([cpu, integrated]) == [integrated]
    assert usable_gpus([cpu]) == []


def test_what_lies_on_the_gpu_does_not_lie_in_memory() -> None:
    projector = 1100 * MB
    assert bytes_on_gpu(PREDICTION, EngineConfig(n_gpu_layers=0)) == 0
    assert bytes_on_gpu(PREDICTION, EngineConfig(n_gpu_layers=3)) == 2 * 400 * MB + 500 * MB + projector
    assert bytes_on_gpu(PREDICTION, EngineConfig(n_gpu_layers=3, mmproj_offload=False)) == 1300 * MB
    assert bytes_on_gpu(PREDICTION, EngineConfig(n_gpu_layers=-1)) == 4500 * MB + projector
    fractions = [fraction_on_gpu(PREDICTION, EngineConfig(n_gpu_layers=n)) for n in (0, 1, 6, 11, -1)]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[3], fractions[4]) == (0, 1, 1)
    assert 0.6 < fractions[2] < 0.7


def test_after_a_failure_fewer_layers_are_tried_until_none_are_left() -> None:
    plan: OffloadPlan | None = OffloadPlan(config=EngineConfig(n_gpu_layers=-1), prediction=PREDICTION)
    tried = []
    while plan is not None:
        tried.append(plan.config.n_gpu_layers)
        plan = plan.with_fewer_layers()
    assert tried == [-1, 8, 6, 4, 3, 0]


# -- does it fit


def _file(quant: str, size: int) -> ModelFile:
    return ModelFile(quant=quant, parts=(FilePart(name=f"m-{quant}.gguf", size=size),), repo="a/b")


SPEC = ModelSpec(
    id="some-model",
    files=(_file("Q8_0", 4 * GB), _file("Q4_K_M", 2500 * MB), _file("Q2_K", 1500 * MB)),
    projectors=(_file("F16", 1 * GB), _file("Q8_0", 500 * MB)),
)
NEEDED = PREDICTION.total + PROCESS


def _hint(free: int, spec: ModelSpec | None = None, n_ctx: int | None = None) -> str:
    with pytest.raises(EngineError) as caught:
        check_fits(PREDICTION, free, spec, EngineConfig(n_ctx=n_ctx))
    assert "6.5 GB of memory with 10000 tokens of context" in str(caught.value)
    assert caught.value.hint is not None
    return caught.value.hint


def test_what_fits_is_let_through() -> None:
    check_fits(PREDICTION, NEEDED)


def test_the_largest_smaller_quantization_that_fits_is_named() -> None:
    assert _hint(NEEDED - 800 * MB, SPEC) == "-m some-model:Q4_K_M or -c 1792 would fit"
    assert _hint(NEEDED - 2200 * MB, SPEC) == "-m some-model:Q2_K would fit"


def test_a_smaller_projector_may_do() -> None:
    assert _hint(NEEDED - 300 * MB, SPEC) == "-m some-model:Q4_K_M or --mmproj m-Q8_0.gguf would fit"


def test_the_context_comes_first_where_the_user_chose_it() -> None:
    # 400 MB too few: 4000 cells less, rounded down to a multiple of 256
    assert _hint(NEEDED - 400 * MB, SPEC, n_ctx=10_000).startswith("-c 5888 or -m some-model:Q4_K_M")
    assert _hint(NEEDED - 400 * MB) == "-c 5888 would fit"


def test_where_nothing_helps_the_list_of_models_is_named() -> None:
    assert "ggufvlm list" in _hint(1 * GB, SPEC)


# -- the plan


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the machine seems to have."""

    def be(free: int | None, *gpus: Device) -> None:
        monkeypatch.setattr(system, "available_memory", lambda: free)
        monkeypatch.setattr(devices, "supports_gpu", lambda: bool(gpus))
        monkeypatch.setattr(devices, "list_devices", lambda: (_gpu(0, "cpu"), *gpus))

    return be


def test_on_a_cpu_with_plenty_of_memory_no_header_is_read(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(8 * GB)
    model, mmproj = tmp_path / "m.gguf", tmp_path / "p.gguf"
    for path in (model, mmproj):
        path.write_bytes(b"not a GGUF file")
    settled = EngineConfig(n_gpu_layers=0)
    assert plan_offload(model, mmproj, EngineConfig(), devices.offload_devices()) == OffloadPlan(
        config=settled, prediction=None
    )


def test_this_machine_can_load_the_built_in_model() -> None:
    assert plan_offload(MODEL, MMPROJ, EngineConfig(), devices.offload_devices()).config.mmproj_offload


def test_a_context_too_large_for_the_machine_is_refused_before_loading(machine: Callable[..., None]) -> None:
    machine(1 * GB)
    with pytest.raises(EngineError, match=r"tiny-qwen2vl-Q8_0\.gguf needs 1\.8 GB") as caught:
        plan_offload(MODEL, MMPROJ, EngineConfig(n_ctx=600_000), devices.offload_devices())
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("-c ")


def test_the_suggested_context_does_fit(machine: Callable[..., None]) -> None:
    machine(1 * GB)
    with pytest.raises(EngineError) as caught:
        plan_offload(MODEL, MMPROJ, EngineConfig(n_ctx=600_000), devices.offload_devices())
    n_ctx = int((caught.value.hint or "").split()[1])
    plan = plan_offload(MODEL, MMPROJ, EngineConfig(n_ctx=n_ctx), devices.offload_devices())
    assert plan.prediction is not None
    assert plan.prediction.n_ctx == n_ctx


def test_with_a_gpu_all_of_a_small_model_goes_there(machine: Callable[..., None]) -> None:
    machine(8 * GB, _gpu(8 * GB))
    plan = plan_offload(MODEL, MMPROJ, EngineConfig(), devices.offload_devices())
    assert (plan.config.n_gpu_layers, plan.config.mmproj_offload) == (4, True)


def test_on_a_full_gpu_everything_stays_on_the_cpu(machine: Callable[..., None]) -> None:
    machine(8 * GB, _gpu(GB // 2))
    plan = plan_offload(MODEL, MMPROJ, EngineConfig(), devices.offload_devices())
    assert (plan.config.n_gpu_layers, plan.config.mmproj_offload) == (0, False)


def test_what_the_user_set_is_left_alone(machine: Callable[..., None]) -> None:
    machine(8 * GB, _gpu(GB // 2))
    config = EngineConfig(n_gpu_layers=2)
    assert plan_offload(MODEL, MMPROJ, config, devices.offload_devices()).config == config


def test_a_gpu_takes_the_load_off_the_memory(machine: Callable[..., None]) -> None:
    config = EngineConfig(n_ctx=600_000)  # a cache of 0.9 GB, and scratch memory of 0.6 GB
    machine(1 * GB, _gpu(0))
    with pytest.raises(EngineError):
        plan_offload(MODEL, MMPROJ, config, devices.offload_devices())
    machine(1 * GB + PROCESS, _gpu(8 * GB))
    assert plan_offload(MODEL, MMPROJ, config, devices.offload_devices()).config.n_gpu_layers == 4
    # integrated: its memory is the machine's own, and counting it twice would be wrong
    machine(1 * GB, _gpu(8 * GB, "igpu"))
    assert plan_offload(MODEL, MMPROJ, config, devices.offload_devices()).config.n_gpu_layers == 4
