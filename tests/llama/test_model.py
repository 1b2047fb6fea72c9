from __future__ import annotations

import logging
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError, ModelError, PairingError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, encode_value, read_pairs, write_gguf
from ggufvlm.llama.cancellation import CancelToken, LoadAborted
from ggufvlm.llama.context import AbortFlag, Context, ContextShape
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector, TokenBudget

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, MMPROJ = DEMO / "tiny-qwen2vl-Q8_0.gguf", DEMO / "mmproj-tiny-qwen2vl-F16.gguf"


def test_a_damaged_file_is_refused_with_llama_cpp_s_reason(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(MODEL.read_bytes()[:1_000_000])
    with pytest.raises(ModelError, match=r"cut\.gguf: .*(bounds|corrupted|incomplete)"):
        Model.load(cut)


def test_loading_can_be_stopped() -> None:
    cancel = CancelToken()
    with pytest.raises(LoadAborted):
        Model.load(MODEL, on_progress=lambda _fraction: cancel.cancel(), cancel=cancel)


def test_what_a_progress_callback_raises_comes_out() -> None:
    def broken(fraction: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Model.load(MODEL, on_progress=broken)


def test_a_projector_of_another_kind_is_refused() -> None:
    with Model.load(MODEL) as model, pytest.raises(PairingError, match="tiny-qwen2vl"):
        Projector(MODEL, model, EngineConfig(), TokenBudget(), 1)


def test_a_step_larger_than_the_batch_is_refused_before_it_aborts_the_process() -> None:
    with Model.load(MODEL) as model:
        context = Context(
            model, EngineConfig(n_batch=32, n_ubatch=32), AbortFlag(), ContextShape(n_ctx=256, n_ubatch=32, n_threads=1)
        )
        with pytest.raises(EngineError, match="does not fit into a batch of 32"):
            context.decode_tokens([1] * 33, range(33), [0] * 33, [False] * 33)
        with pytest.raises(EngineError):
            context.decode_tokens([], [], [], [])
        context.decode_tokens([1], [0], [0], [True])
        assert context.logits(0).shape == (model.vocab.size,)
        with pytest.raises(EngineError, match="no logits"):
            context.logits(5)
        context.close()
        context.close()


def test_a_closed_model_says_so() -> None:
    model = Model.load(MODEL)
    model.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        _ = model.chat_template


def test_facts_of_the_built_in_model() -> None:
    with Model.load(MODEL) as model:
        assert model.n_ctx_train == 4096
        assert model.can_cut_memory
        assert "<|im_start|>" in (model.chat_template or "")
        assert model.metadata("general.architecture") == "qwen2vl"
        assert model.metadata("no.such.key") is None


def test_a_template_for_tools_is_told_from_the_other(tmp_path: Path) -> None:
    header = read_header(MODEL)
    pairs = read_pairs(MODEL, header)
    pairs |= {"tokenizer.chat_template.tool_use": encode_value("string", "{{ tools }}")}
    with (tmp_path / "tools.gguf").open("wb") as file:
        write_gguf(file, pairs, copied(MODEL, header))
    with Model.load(tmp_path / "tools.gguf") as model:
        assert model.tool_template == "{{ tools }}"
        assert "<|im_start|>" in (model.chat_template or "")
    with Model.load(MODEL) as model:
        assert model.tool_template is None


def test_native_messages_go_to_logging_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, "ggufvlm.native"), Model.load(MODEL):
        pass
    assert any("general.architecture" in record.message for record in caplog.records)
    assert capfd.readouterr() == ("", "")
