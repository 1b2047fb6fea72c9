"""Headers that contradict themselves: one sentence that names file and key, and llama.cpp never sees them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import MAX_KEPT_ELEMENTS, read_header
from ggufvlm.gguf.writer import copied, encode_value, read_pairs, write_gguf
from ggufvlm.hardware.memory import predict
from ggufvlm.models.known_sound import check_once
from ggufvlm.models.pairing import check_pair
from tests.support.loads import outcomes
from tests.support.lying_files import flipped, lies

PARITY = Path(__file__).parents[1] / "data" / "parity"
FAMILIES = sorted(path.parent.name for path in PARITY.glob("*/model.gguf"))
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="forks a process for each file")
IMAGE = PARITY / "images" / "40x33.png"


def pair_of(family: str, kind: str, told: Path) -> tuple[Path, Path]:
    """Model and projector of a family, one of them replaced."""
    files = {name: PARITY / family / f"{name}.gguf" for name in ("model", "mmproj")} | {kind: told}
    return files["model"], files["mmproj"]


def refusal(family: str, kind: str, what: str, folder: Path) -> str:
    """What is said of the one lie with that name."""
    told = folder / "told.gguf"
    (lie,) = (lie for lie in lies(PARITY / family / f"{kind}.gguf") if lie.what == what)
    told.write_bytes(lie.data())
    with pytest.raises(ModelError) as caught:
        check_pair(*pair_of(family, kind, told), thorough=False, allow_untyped=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_honest_files_pass(family: str) -> None:
    check_pair(PARITY / family / "model.gguf", PARITY / family / "mmproj.gguf")


@pytest.mark.parametrize(
    ("family", "kind", "what", "named"),
    [
        ("gemma3", "model", "gemma3.block_count = 0", "gemma3.block_count is 0"),
        ("lfm2_vl", "model", "lfm2.block_count = 2147483647", "lfm2.block_count is 2147483647"),
        ("gemma3", "model", "gemma3.attention.sliding_window = 2147483647", "attention.sliding_window is 2147483647"),
        ("smolvlm", "model", "llama.attention.layer_norm_rms_epsilon = nan", "layer_norm_rms_epsilon is nan"),
        ("qwen2_vl", "model", "qwen2vl.rope.dimension_sections = all bits set", "rope.dimension_sections is -1"),
        ("llava", "model", "blk.0.attn_norm.weight in BF16", "blk.0.attn_norm.weight"),
        ("lfm2_vl", "model", "blk.0.shortconv.conv.weight in BF16", "blk.0.shortconv.conv.weight is not F32"),
        ("pixtral", "model", "blk.0.ffn_up.weight in I32", "blk.0.ffn_up.weight"),
        ("lfm2_vl", "mmproj", "clip.vision.attention.layer_norm_epsilon = -1.0", "layer_norm_epsilon is -1.0"),
        ("qwen2_vl", "mmproj", "clip.vision.attention.head_count = 3", "attention.head_count is 3"),
        ("qwen2_vl", "mmproj", "clip.vision.patch_size = 7", "clip.vision.patch_size is 7"),
        ("lfm2_vl", "mmproj", "clip.vision.embedding_length = 3", "clip.vision.embedding_length"),
        ("lfm2_vl", "mmproj", "clip.vision.projector.scale_factor = 7", "projector.scale_factor is 7"),
        ("qwen2_5_vl", "mmproj", "clip.vision.projection_dim = 7", "clip.vision.projection_dim is 7"),
        ("smolvlm", "mmproj", "clip.vision.preproc_image_size = 1048576", "preproc_image_size is 1048576"),
        ("gemma3", "mmproj", "v.blk.0.attn_q.bias double", "v.blk.0.attn_q.bias"),
        ("internvl", "mmproj", "v.blk.0.ls1.weight empty", "v.blk.0.ls1.weight"),
        ("pixtral", "mmproj", "v.blk.0.attn_q.weight half", "v.blk.1.attn_q.weight"),
        ("qwen2_vl", "mmproj", "v.blk.0.attn_v.bias left out", "v.blk.1.attn_v.bias"),
        ("qwen2_vl", "mmproj", "v.patch_embd.weight.1 left out", "v.patch_embd.weight.1"),
        ("qwen3_vl", "mmproj", "v.position_embd.weight double", "v.position_embd.weight"),
        ("pixtral", "mmproj", "v.token_embd.img_break double", "v.token_embd.img_break"),
        ("llava", "mmproj", "mm.0.weight left out", "mm.0.weight"),
    ],
)
def test_the_sentence_names_file_and_key(family: str, kind: str, what: str, named: str, tmp_path: Path) -> None:
    said = refusal(family, kind, what, tmp_path)
    assert said.startswith("told.gguf: ")
    assert named in said


def test_a_prediction_takes_no_memory_for_layers_that_are_not_there(tmp_path: Path) -> None:
    told = tmp_path / "told.gguf"
    (lie,) = (lie for lie in lies(PARITY / "llava" / "model.gguf") if lie.what == "llama.block_count = 2147483647")
    told.write_bytes(lie.data())
    assert len(predict(read_header(told)).layers) == 2


def ended(families: list[str], kind: str, n_lies: int, n_flips: int, seed: int, folder: Path) -> list[str]:
    """What ended a process or took too long, of a sample of files that are loaded and asked about an image."""
    told = folder / "told.gguf"
    asked: list[str] = []

    def pairs() -> Iterator[tuple[Path, Path]]:
        for family in families:
            path = PARITY / family / f"{kind}.gguf"
            for lie in random.Random(f"{seed} {family}").sample(list(lies(path)), n_lies):
                told.write_bytes(lie.data())
                asked.append(f"{family} {lie.what}")
                yield pair_of(family, kind, told)
            for number in range(n_flips):
                told.write_bytes(flipped(path, seed * n_flips + number))
                asked.append(f"{family} flipped {seed * n_flips + number}")
                yield pair_of(family, kind, told)

    ends = [end.partition(":")[0] for end in outcomes(pairs(), IMAGE)]
    return [f"{what}: {end}" for what, end in zip(asked, ends, strict=True) if end not in ("answered", "refused")]


def test_a_long_vocabulary_hides_no_tensor(tmp_path: Path) -> None:
    source, told = PARITY / "llava" / "model.gguf", tmp_path / "told.gguf"
    tokens = encode_value("[string]", ["t"] * (MAX_KEPT_ELEMENTS + 1))
    tensors = [
        replace(tensor, name=tensor.name.replace("blk.1", "blk.7")) for tensor in copied(source, read_header(source))
    ]
    with told.open("wb") as file:
        write_gguf(file, {**read_pairs(source), "tokenizer.ggml.tokens": tokens}, tensors)
    check_pair(*pair_of("llava", "model", told), thorough=False)
    for _ in range(2):
        with pytest.raises(ModelError, match="block_count is 2, and there are 8 blocks"):
            check_once(told)


@pytest.mark.slow
@needs_fork
def test_some_files_that_lie_end_no_process(tmp_path: Path) -> None:
    for number, kind in enumerate(("model", "mmproj")):
        assert ended(FAMILIES[number::3], kind, n_lies=4, n_flips=1, seed=1, folder=tmp_path) == []


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "mmproj"])
def test_many_files_that_lie_end_no_process(kind: str, tmp_path: Path) -> None:
    assert ended(FAMILIES, kind, n_lies=30, n_flips=5, seed=2, folder=tmp_path) == []
