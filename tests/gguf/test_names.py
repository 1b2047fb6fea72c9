"""Names as they occur at the Hub: one parser for all who read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.errors import ModelError
from ggufvlm.gguf.names import model_key, parse_quant, quant_of, split_name, split_parts

# name, quantization, the words that tell the model
REAL = [
    ("Qwen2-VL-2B-Instruct-Q4_K_M.gguf", "Q4_K_M", "qwen2vl2binstruct"),
    ("mmproj-Qwen2-VL-2B-Instruct-Q8_0.gguf", "Q8_0", "qwen2vl2binstruct"),
    ("mmproj-Qwen2-VL-2B-Instruct-f16.gguf", "F16", "qwen2vl2binstruct"),
    ("Qwen_Qwen2.5-VL-7B-Instruct-Q5_K_M.gguf", "Q5_K_M", "qwenqwen25vl7binstruct"),
    ("mmproj-Qwen_Qwen2.5-VL-7B-Instruct-f32.gguf", "F32", "qwenqwen25vl7binstruct"),
    ("llava-v1.5-7b-Q4_K.gguf", "Q4_K", "llavav157b"),
    ("vicuna-7b-q5_k.gguf", "Q5_K", "vicuna7b"),
    ("llava-llama-3-8b-v1_1-int4.gguf", "INT4", "llavallama38bv11"),
    ("ggml-model-q4_k.gguf", "Q4_K", ""),
    ("ggml_llava-v1.5-13b/ggml-model-f16.gguf", "F16", ""),
    ("mmproj-model-f16.gguf", "F16", ""),
    ("mmproj-F16.gguf", "F16", ""),
    ("mmproj.gguf", None, ""),
    ("gemma-4-E2B-it-Q4_0.gguf", "Q4_0", "gemma4e2bit"),
    ("gemma-3n-E4B-it-q3_k_m.gguf", "Q3_K_M", "gemma3ne4bit"),
    ("gemma-4-26B-A4B-it-UD-Q4_K_M.gguf", "UD-Q4_K_M", "gemma426ba4bit"),
    ("gemma-4-26B-A4B-it-qat-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", "gemma426ba4bitqat"),
    ("gemma-4-31B-it-mmproj.gguf", None, "gemma431bit"),
    ("PaddleOCR-VL-1.6-GGUF-mmproj.gguf", None, "paddleocrvl16"),
    ("Muse-Glimmer-30B-KQuant-Dynamic-Q4_K_XL.gguf", "Q4_K_XL", "museglimmer30bkquantdynamic"),
    ("muse-glimmer-30B-kquant-17gb.gguf", None, "museglimmer30bkquant17gb"),
    ("gpt-oss-20b-MXFP4.gguf", "MXFP4", "gptoss20b"),
    ("gpt-oss-20b-mxfp4_moe.gguf", "MXFP4_MOE", "gptoss20b"),
    ("BitNet-2B-TQ2_0.gguf", "TQ2_0", "bitnet2b"),
    ("model-IQ4_XS.gguf", "IQ4_XS", ""),
    ("model.Q4_K_M.gguf", "Q4_K_M", ""),
    ("model-fp16.GGUF", "F16", ""),
    ("BF16/Qwen3-VL-235B-BF16-00001-of-00010.gguf", "BF16", "qwen3vl235b"),
    ("Q8_0/Qwen3-VL-235B-00002-of-00005.gguf", "Q8_0", "qwen3vl235b"),
    ("Holo3-35B-A3B-APEX-I-Balanced.gguf", None, "holo335ba3bapexibalanced"),
    ("Qwen3-VL-Reranker-2B.i1-Q4_K_M.gguf", "Q4_K_M", "qwen3vlreranker2bi1"),
    ("mmproj-gemma-4-12b-it-qat-q4_0.gguf", "Q4_0", "gemma412bitqat"),
    ("ud_q3_k_xl-thing.gguf", "UD-Q3_K_XL", "thing"),
]


@pytest.mark.parametrize(("name", "quant", "key"), REAL, ids=[name for name, *_ in REAL])
def test_names_of_the_hub(name: str, quant: str | None, key: str) -> None:
    assert quant_of(name) == quant
    assert model_key(name) == key


@pytest.mark.parametrize(("name", "quant", "_key"), [row for row in REAL if row[1]])
def test_what_is_read_from_a_name_is_read_from_a_command_line(name: str, quant: str, _key: str) -> None:
    assert parse_quant(quant) == quant
    assert parse_quant(quant.lower()) == quant


@pytest.mark.parametrize("text", ["", "8080", "latest", "Q", "F", "7b", "Q4_K_M.gguf", "C", "//x", "q4 k m"])
def test_other_words_are_no_quantizations(text: str) -> None:
    assert parse_quant(text) is None


def test_bf16_is_never_taken_for_f16() -> None:
    assert quant_of("mmproj-model-BF16.gguf") == "BF16"


@given(st.from_regex(r"[A-Za-z0-9][\w.-]{0,20}", fullmatch=True), st.integers(1, 99_999), st.integers(1, 99_999))
def test_parts_are_named_there_and_back(stem: str, number: int, count: int) -> None:
    name = split_name(f"{stem}-{number:05d}-of-{count:05d}.gguf")
    assert name is not None
    assert (name.stem, name.number, name.count) == (stem, number, count)
    assert split_name(name.part(number)) == name
    assert quant_of(name.part(1)) == quant_of(f"{stem}.gguf")
    assert model_key(name.part(1)) == model_key(f"{stem}.gguf")


@given(st.text(max_size=40))
def test_no_name_is_refused(name: str) -> None:
    quant = quant_of(name)
    assert quant is None or parse_quant(quant) == quant
    model_key(name)
    split_name(name)


def test_parts_of_a_split_model_are_found_or_missed(tmp_path: Path) -> None:
    parts = [tmp_path / f"m-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"")
    assert split_parts(parts[0]) == parts
    with pytest.raises(ModelError, match="part 2 of a split model") as caught:
        split_parts(parts[1])
    assert caught.value.hint == f"-m {parts[0]}"
    parts[2].unlink()
    with pytest.raises(ModelError, match=r"1 of 3 parts missing: m-00003-of-00003\.gguf"):
        split_parts(parts[0])
    assert split_parts(tmp_path / "whole.gguf") == [tmp_path / "whole.gguf"]
