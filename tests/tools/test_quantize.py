"""The built-in model and its projector in other types: files as they should be, and answers that are still right."""

from __future__ import annotations

from pathlib import Path

import pytest

import ggufvlm
from ggufvlm import VLM
from ggufvlm.errors import ModelError, PairingError, UsageError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import read_pairs
from ggufvlm.models.pairing import check_pair
from ggufvlm.tools.quantize import QuantizeResult, prepare, quantize

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, MMPROJ, IMAGE = DEMO / "tiny-qwen2vl-Q8_0.gguf", DEMO / "mmproj-tiny-qwen2vl-F16.gguf", DEMO / "blocks-1.png"
CAPTION = "A blue column, a red square and a green bar on a white background."
# a model file's name is how the registry knows it, and with it how large its images shall be
QUANTIZED = "tiny-qwen2vl-{}.gguf"


def _answer(model: Path, mmproj: Path) -> str:
    with VLM.load(model, mmproj) as vlm:
        return vlm.describe(IMAGE).text


@pytest.mark.parametrize(("name", "ggml_type"), [("Q4_0", 2), ("Q4_K_M", 12), ("F16", 1)])
def test_a_quantized_model_answers_as_before(tmp_path: Path, name: str, ggml_type: int) -> None:
    target = tmp_path / QUANTIZED.format(name)
    steps: list[tuple[int, int]] = []
    result = quantize(MODEL, target, name.lower(), progress=lambda done, total: steps.append((done, total)))
    assert result == QuantizeResult(
        source=MODEL,
        target=target,
        type=name,
        is_projector=False,
        size_before=MODEL.stat().st_size,
        size_after=target.stat().st_size,
    )
    header = read_header(target)
    assert header.tensors["blk.1.ffn_up.weight"].ggml_type == ggml_type
    assert steps == [(n, len(header.tensors)) for n in range(1, len(header.tensors) + 1)]
    assert list(tmp_path.iterdir()) == [target]
    assert _answer(target, MMPROJ) == CAPTION


@pytest.mark.parametrize(("name", "ggml_type", "file_type"), [("Q8_0", 8, 7), ("BF16", 30, 32), ("F32", 0, 0)])
def test_a_converted_projector_sees_as_before(tmp_path: Path, name: str, ggml_type: int, file_type: int) -> None:
    target = tmp_path / f"mmproj-{name}.gguf"
    result = quantize(MMPROJ, target, name)
    assert result.is_projector
    header, before = read_header(target), read_header(MMPROJ)
    assert {n: t.shape for n, t in header.tensors.items()} == {n: t.shape for n, t in before.tensors.items()}
    changed = {n for n, t in header.tensors.items() if t.ggml_type != before.tensors[n].ggml_type}
    assert changed == {n for n, t in before.tensors.items() if len(t.shape) == 2}
    assert {header.tensors[n].ggml_type for n in changed} == {ggml_type}
    assert header.integer("general.file_type") == file_type
    ours = {"general.file_type", "general.quantization_version"}
    old, new = read_pairs(MMPROJ), read_pairs(target)
    assert {k: v for k, v in new.items() if k not in ours} == {k: v for k, v in old.items() if k not in ours}
    check_pair(MODEL, target)
    assert _answer(MODEL, target) == CAPTION


def test_a_projector_back_in_f16_is_the_file_it_was(tmp_path: Path) -> None:
    wide, back = tmp_path / "wide.gguf", tmp_path / "back.gguf"
    quantize(MMPROJ, wide, "F32")
    quantize(wide, back, "F16")
    assert back.read_bytes() == MMPROJ.read_bytes()


def test_weights_too_large_for_f16_are_refused(tmp_path: Path) -> None:
    wide = tmp_path / "wide.gguf"
    quantize(MMPROJ, wide, "F32")
    header = read_header(wide)
    data = bytearray(wide.read_bytes())
    at = header.data_offset + header.tensors["mm.0.weight"].offset
    data[at : at + 4] = bytes.fromhex("000080 49".replace(" ", ""))  # 2**20
    wide.write_bytes(data)
    with pytest.raises(ModelError, match=r"wide\.gguf: mm\.0\.weight has weights too large for F16") as caught:
        quantize(wide, tmp_path / "out.gguf", "F16")
    assert caught.value.hint == "take BF16"
    assert list(tmp_path.iterdir()) == [wide]


@pytest.mark.parametrize(
    ("source", "name", "message", "hint"),
    [
        (MODEL, "q4km", "unknown type: q4km", "did you mean Q4_K_M"),
        (MODEL, "zzz", "unknown type: zzz", "types: F32, F16"),
        (MODEL, "IQ2_XXS", "needs an importance matrix", "take Q2_K"),
        (MMPROJ, "Q4_K_M", "a projector cannot be Q4_K_M", "types: F32, F16, BF16, Q8_0"),
        (MMPROJ, "Q8", "unknown type: Q8", "did you mean Q8_0"),
    ],
)
def test_types_that_there_are_not(source: Path, name: str, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        quantize(source, tmp_path / "out.gguf", name)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_short_names_of_llama_quantize() -> None:
    assert prepare(MODEL, Path("out.gguf"), "q4_k").type == "Q4_K_M"


def test_nothing_is_overwritten_unless_that_is_wanted(tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    target.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        quantize(MMPROJ, target, "Q8_0")
    assert target.read_text() == "mine"
    quantize(MMPROJ, target, "Q8_0", force=True)
    assert read_header(target).is_projector


def test_the_source_is_never_the_target(tmp_path: Path) -> None:
    source, link = tmp_path / "a.gguf", tmp_path / "b.gguf"
    source.write_bytes(MMPROJ.read_bytes())
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(UsageError, match="is the source itself"):
            quantize(source, target, "Q8_0", force=True)
    assert source.read_bytes() == MMPROJ.read_bytes()


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        quantize(MMPROJ, tmp_path, "Q8_0")
    with pytest.raises(UsageError, match="no such folder"):
        quantize(MMPROJ, tmp_path / "no" / "out.gguf", "Q8_0")


@pytest.mark.parametrize("source", [MODEL, MMPROJ], ids=["model", "projector"])
def test_a_truncated_file_is_refused_before_the_work_begins(source: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:1_500_000])
    with pytest.raises(ModelError, match="truncated"):
        prepare(cut, tmp_path / "out.gguf", "Q8_0")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        prepare(tmp_path / "no.gguf", tmp_path / "out.gguf", "Q8_0")
    with pytest.raises(ModelError, match="not a GGUF file"):
        prepare(IMAGE, tmp_path / "out.gguf", "Q8_0")


def test_a_part_of_a_split_model_alone_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "m-00002-of-00002.gguf"
    part.write_bytes(MODEL.read_bytes())
    with pytest.raises(ModelError, match="part 2 of a split model"):
        prepare(part, tmp_path / "out.gguf", "Q4_0")


def test_coarse_weights_are_noticed(tmp_path: Path) -> None:
    coarse = tmp_path / "coarse.gguf"
    quantize(MODEL, coarse, "Q4_0")
    assert prepare(coarse, tmp_path / "out.gguf", "Q4_K_M").coarse_source
    assert not prepare(MODEL, tmp_path / "out.gguf", "Q4_K_M").coarse_source


def test_adapters_are_not_models(tmp_path: Path) -> None:
    from ggufvlm.gguf.writer import copied, encode_value, write_gguf

    adapter = tmp_path / "adapter.gguf"
    pairs = {**read_pairs(MODEL), "general.type": encode_value("string", "adapter")}
    with adapter.open("wb") as file:
        write_gguf(file, pairs, copied(MODEL, read_header(MODEL)))
    with pytest.raises((ModelError, PairingError), match="adapter"):
        prepare(adapter, tmp_path / "out.gguf", "Q4_0")
