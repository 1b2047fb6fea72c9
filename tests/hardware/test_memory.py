"""Predictions against what llama.cpp itself says in a dry run, and on the built-in model for real."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.gguf.header import GGUFHeader, TensorInfo, read_header
from ggufvlm.hardware.memory import predict
from ggufvlm.llama.context import AbortFlag, Context, ContextShape
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget
from tests.support.hollow_models import HOLLOW

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, MMPROJ = DEMO / "tiny-qwen2vl-Q8_0.gguf", DEMO / "mmproj-tiny-qwen2vl-F16.gguf"
MIB = 2**20
_CONFIGS = {
    "plain": EngineConfig(n_ctx=4096),
    "long, no flash attention": EngineConfig(n_ctx=8192, flash_attention="off"),
    "small batch": EngineConfig(n_ctx=2048, n_batch=128, n_ubatch=128),
    "quantized cache": EngineConfig(n_ctx=4096, cache_type_k="q8_0", cache_type_v="q8_0"),
    "odd size": EngineConfig(n_ctx=1000),
}
Sizes = Callable[[str], float]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Sizes:
    """The sum of the sizes, in MiB, in llama.cpp's messages that fit a pattern."""
    caplog.set_level(logging.INFO, "ggufvlm.native")

    def total(pattern: str) -> float:
        return sum(float(found[1]) for line in caplog.messages if (found := re.search(pattern, line)))

    return total


def _dry_run(path: Path, config: EngineConfig) -> None:
    """Make model and context without memory for weights and cache; llama.cpp logs what it would take."""
    from ggufvlm.llama.bindings import llama

    params = llama.llama_model_default_params()
    params.no_alloc, params.load_mode = True, 0
    handle = llama.llama_model_load_from_file(str(path).encode(), params)
    assert handle
    with Model(handle, path) as model:
        shape = ContextShape(n_ctx=config.n_ctx or 0, n_ubatch=config.n_ubatch, n_threads=1)
        Context(model, config, AbortFlag(), shape).close()


@pytest.mark.parametrize("config", _CONFIGS.values(), ids=_CONFIGS)
@pytest.mark.parametrize("architecture", HOLLOW)
def test_cache_and_scratch_are_what_llama_cpp_says(
    architecture: str, config: EngineConfig, tmp_path: Path, logged: Sizes
) -> None:
    path = HOLLOW[architecture](tmp_path / "hollow.gguf")
    prediction = predict(read_header(path), None, config)
    _dry_run(path, config)
    cache = logged(r"llama_kv_cache: size = +([\d.]+) MiB") + logged(r"memory_recurrent: size = +([\d.]+) MiB")
    assert prediction.kv / MIB == pytest.approx(cache, abs=0.02)
    scratch = logged(r"sched_reserve:.*compute buffer size = +([\d.]+) MiB")
    assert 0.97 * scratch <= prediction.compute / MIB <= 1.5 * scratch


@pytest.mark.parametrize("architecture", [name for name in HOLLOW if name != "qwen35"])
def test_weights_are_counted_once_each(architecture: str, tmp_path: Path) -> None:
    path = HOLLOW[architecture](tmp_path / "hollow.gguf")
    header = read_header(path)
    assert predict(header).weights == sum(tensor.n_bytes or 0 for tensor in header.tensors.values())


def test_layers_for_speculation_are_not_loaded_and_not_counted(tmp_path: Path) -> None:
    header = read_header(HOLLOW["qwen35"](tmp_path / "hollow.gguf"))
    prediction = predict(header)
    last = sum(tensor.n_bytes or 0 for name, tensor in header.tensors.items() if name.startswith("blk.4."))
    assert len(prediction.layers) == 4
    assert prediction.weights == sum(tensor.n_bytes or 0 for tensor in header.tensors.values()) - last


def test_an_output_matrix_of_its_own_is_told_from_a_tied_one(tmp_path: Path) -> None:
    untied = predict(read_header(HOLLOW["llama"](tmp_path / "a.gguf")))
    tied = predict(read_header(HOLLOW["gemma3"](tmp_path / "b.gguf")))
    assert (untied.tied_output, tied.tied_output) == (False, True)
    matrix = 512 * 4096 // 32 * 34
    assert (untied.input_weights, untied.output_weights) == (matrix, matrix + 512 * 4)
    # tied: the matrix stays an input, and a GPU gets it once more
    assert tied.output_weights <= tied.input_weights


def test_the_built_in_model_takes_what_was_predicted(logged: Sizes) -> None:
    config = EngineConfig(n_ctx=2048)
    prediction = predict(read_header(MODEL), read_header(MMPROJ), config, image_tokens=36)
    with Model.load(MODEL, n_gpu_layers=0) as model:
        assert prediction.weights == model.size_bytes
        projector = Projector(MMPROJ, model, config, TokenBudget(), 1)
        context = Context(model, config, AbortFlag(), ContextShape(n_ctx=2048, n_ubatch=512, n_threads=1))
        context.close()
        projector.close()
    assert prediction.kv / MIB == logged(r"llama_kv_cache: size = +([\d.]+) MiB")
    assert prediction.projector / MIB == pytest.approx(logged(r"load_hparams: model size: +([\d.]+) MiB"), abs=0.01)


def test_parts_of_a_split_model_count_together() -> None:
    whole = read_header(MODEL)
    names = list(whole.tensors)
    first, second = ({name: whole.tensors[name] for name in half} for half in (names[:20], names[20:]))
    parts = [replace(whole, tensors=first), replace(whole, tensors=second, metadata={})]
    assert predict(parts) == predict(whole)


def test_without_a_context_size_a_usual_one_is_reckoned_with() -> None:
    assert predict(read_header(MODEL)).n_ctx == 4096
    assert predict(read_header(MODEL), config=EngineConfig(n_ctx=300)).n_ctx == 512


def test_a_larger_image_takes_more_only_where_the_projector_follows_it() -> None:
    projector = read_header(MMPROJ)
    small, large = (predict(read_header(MODEL), projector, image_tokens=n) for n in (64, 1024))
    assert large.projector_compute == 16 * small.projector_compute
    fixed = replace(projector, metadata={**projector.metadata, "clip.projector_type": "mlp"})
    small, large = (predict(read_header(MODEL), fixed, image_tokens=n) for n in (64, 1024))
    assert large.projector_compute == small.projector_compute


def test_latent_attention_keeps_one_vector_for_keys_and_values() -> None:
    values: dict[str, int] = {
        "block_count": 1,
        "embedding_length": 2048,
        "context_length": 4096,
        "attention.head_count": 16,
        "attention.head_count_kv": 1,
        "attention.key_length": 576,
        "attention.value_length": 512,
        "attention.key_length_mla": 192,
        "attention.value_length_mla": 128,
    }
    metadata = {"general.architecture": "deepseek2"} | {f"deepseek2.{key}": value for key, value in values.items()}
    header = GGUFHeader(
        name="x",
        version=3,
        metadata=metadata,
        types={},
        tensors={"blk.0.attn_kv_a_mqa.weight": TensorInfo(shape=(2048, 576), ggml_type=1, offset=0)},
        data_offset=0,
        file_size=0,
        complete=True,
    )
    assert predict(header).kv_per_cell == 576 * 2


def test_a_header_that_says_nothing_predicts_nothing() -> None:
    header = GGUFHeader(
        name="x", version=3, metadata={}, types={}, tensors={}, data_offset=0, file_size=0, complete=True
    )
    prediction = predict(header, header)
    assert (prediction.weights, prediction.kv, prediction.projector) == (0, 0, 0)


def test_a_limit_above_what_any_image_has_asks_for_no_more_memory() -> None:
    high, higher = (
        predict(read_header(MODEL), read_header(MMPROJ), EngineConfig(image_max_tokens=n)) for n in (16384, 10**9)
    )
    assert high.total == higher.total
