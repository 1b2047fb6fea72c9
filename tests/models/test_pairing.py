"""Pairs of models and projectors: what fits, and one clear sentence for everything that does not."""

from __future__ import annotations

import struct
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ggufvlm.cli.models import show
from ggufvlm.errors import ModelError, PairingError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import split_parts
from ggufvlm.models.local import find_projector
from ggufvlm.models.pairing import AUDIO_PROJECTORS, VISION_PROJECTORS, check_pair, compare, require_projector

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
CODES = {U32: "I", I32: "i", F32: "f", BOOL: "?"}
Pairs = dict[str, tuple[Any, ...]]
Shapes = dict[str, tuple[int, ...]]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def scalar(kind: int, value: Any) -> bytes:
    return text(value) if kind == STRING else struct.pack("<" + CODES[kind], value)


def pair(key: str, kind: int, *values: Any) -> bytes:
    if len(values) == 1 and not isinstance(values[0], list):
        return text(key) + struct.pack("<I", kind) + scalar(kind, values[0])
    head = struct.pack("<IIQ", ARRAY, kind, len(values[0]))
    return text(key) + head + b"".join(scalar(kind, value) for value in values[0])


def write(path: Path, pairs: Pairs, shapes: Shapes, ggml_type: int = 0) -> Path:
    """A GGUF file with matrices of F32 (0), F16 (1) or BF16 (30), and vectors of F32."""
    infos, end = b"", 0
    for name, shape in shapes.items():
        stored = ggml_type if len(shape) > 1 else 0
        infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, stored, end)
        n = 4 if stored == 0 else 2
        for side in shape:
            n *= side
        end += n + -n % 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(pairs))
    head += b"".join(pair(key, *value) for key, value in pairs.items()) + infos
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(end))
    return path


def model(path: Path, architecture: str = "qwen2vl", n_embd: int = 64, **more: tuple[Any, ...]) -> Path:
    pairs: Pairs = {
        "general.architecture": (STRING, architecture),
        f"{architecture}.embedding_length": (U32, n_embd),
        **{key.replace("__", "."): value for key, value in more.items()},
        "tokenizer.ggml.tokens": (STRING, ["t"] * 5000),
        "tokenizer.chat_template": (STRING, "{{ messages }}"),
    }
    return write(path, pairs, {"token_embd.weight": (n_embd, 2)})


CLIP: Pairs = {
    "general.architecture": (STRING, "clip"),
    "general.type": (STRING, "mmproj"),
    "clip.has_vision_encoder": (BOOL, True),
    "clip.projector_type": (STRING, "qwen2vl_merger"),
    "clip.vision.embedding_length": (U32, 32),
    "clip.vision.attention.head_count": (U32, 2),
    "clip.vision.feed_forward_length": (U32, 64),
    "clip.vision.block_count": (U32, 4),
    "clip.vision.projection_dim": (U32, 64),
    "clip.vision.image_size": (U32, 224),
    "clip.vision.patch_size": (U32, 14),
    "clip.vision.spatial_merge_size": (U32, 2),
    "clip.vision.image_min_pixels": (U32, 3136),
    "clip.vision.attention.layer_norm_epsilon": (F32, 0.5),
    "clip.vision.image_mean": (F32, [0.5, 0.25, 0.125]),
    "clip.vision.image_std": (F32, [0.5, 0.5, 0.5]),
}


def projector(
    path: Path, kind: str = "qwen2vl_merger", shapes: Shapes | None = None, ggml_type: int = 0, **more: Any
) -> Path:
    """A projector; of ``more``, a value of None leaves the key out."""
    pairs = CLIP | {"clip.projector_type": (STRING, kind)}
    pairs |= {key.replace("__", "."): value for key, value in more.items()}
    shapes = {"mm.2.weight": (8, 64), "mm.2.bias": (64,)} if shapes is None else shapes
    return write(path, {key: value for key, value in pairs.items() if value is not None}, shapes, ggml_type)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def refusal(model_path: Path, mmproj_path: Path, kind: type[ModelError] = ModelError, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        check_pair(model_path, mmproj_path, **kwargs)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("thorough", [True, False])
def test_a_pair_that_fits(folder: Path, thorough: bool) -> None:
    mmproj = projector(folder / "p.gguf", shapes={"mm.2.bias": (64,), "v.class_embd": (32,)})
    report = check_pair(model(folder / "m.gguf"), mmproj, thorough=thorough)
    assert (report.architecture, report.n_embd, report.n_embd_inp, report.projector_width) == ("qwen2vl", 64, 64, 64)
    assert (report.projector_type, report.projector_type_inferred) == ("qwen2vl_merger", False)
    assert report.has_chat_template is (True if thorough else None)
    assert report.has_class_embedding
    assert (report.image_size, report.patch_size, report.spatial_merge_size) == (224, 14, 2)
    assert (report.image_mean, report.image_std) == ((0.5, 0.25, 0.125), (0.5, 0.5, 0.5))
    assert (report.min_pixels, report.max_pixels) == (3136, None)


def test_the_pair_that_ships_with_the_package() -> None:
    demo = resources.files("ggufvlm") / "demo"
    names = "tiny-qwen2vl-Q8_0.gguf", "mmproj-tiny-qwen2vl-F16.gguf"
    with resources.as_file(demo / names[0]) as model_path, resources.as_file(demo / names[1]) as mmproj_path:
        report = check_pair(model_path, mmproj_path)
        assert find_projector(model_path) == mmproj_path
    assert (report.projector_type, report.has_chat_template) == ("qwen2vl_merger", True)


def test_deepstack_widens_both_sides(folder: Path) -> None:
    shapes = {"mm.2.bias": (64,)} | {f"v.deepstack.{i}.fc1.weight": (1, 1) for i in (0, 1, 3)}
    mmproj = projector(folder / "p.gguf", "qwen3vl_merger", shapes)
    qwen = model(folder / "m.gguf", "qwen3vl", qwen3vl__n_deepstack_layers=(U32, 3))
    report = check_pair(qwen, mmproj, thorough=False)
    assert (report.n_embd, report.n_embd_inp, report.projector_width) == (64, 256, 256)
    flat = model(folder / "flat.gguf", "qwen3vl")
    assert "256 numbers, qwen3vl takes 64" in refusal(flat, mmproj, PairingError)


def test_granite_counts_its_streams(folder: Path) -> None:
    more = {"clip__vision__feature_layer": (I32, [1, 2, 3])}
    mmproj = projector(folder / "p.gguf", "granite4_vision", **more)
    granite = model(folder / "m.gguf", "granite", granite__deepstack_mapping=(I32, [-1, 0, 1, 1, -1]))
    assert check_pair(granite, mmproj).projector_width == 192


def test_a_key_behind_the_vocabulary_is_found_before_refusing(folder: Path) -> None:
    pairs: Pairs = {
        "general.architecture": (STRING, "qwen2vl"),
        "tokenizer.ggml.tokens": (STRING, ["t"] * 5000),
        "qwen2vl.embedding_length": (U32, 64),
    }
    late = write(folder / "m.gguf", pairs, {"w": (1,)})
    assert check_pair(late, projector(folder / "p.gguf"), thorough=False).n_embd == 64


@pytest.mark.parametrize(
    ("kind", "shapes", "architecture"),
    [
        ("mlp", {"mm.2.weight": (8, 64)}, "llama"),
        ("mlp", {"mm.2.weight": (8, 7), "mm.3.weight": (8, 64), "mm.3.bias": (64,)}, "llama"),
        ("gemma3", {"mm.input_projection.weight": (64, 8)}, "gemma3"),
        ("gemma4v", {"mm.input_projection.weight": (8, 64)}, "gemma4"),
        ("idefics3", {"mm.model.fc.weight": (8, 64)}, "llama"),
        ("internvl", {"mm.model.mlp.3.weight": (8, 64)}, "qwen3"),
        ("resampler", {"resampler.proj.weight": (64, 8)}, "qwen2"),
        ("ldp", {"mm.model.mb_block.1.block.2.1.bias": (64,)}, "llama"),
        ("ldpv2", {"mm.model.peg.0.bias": (64,)}, "llama"),
        ("adapter", {"adapter.linear.dense_4h_to_h.weight": (8, 64)}, "glm4"),
        ("qwen2vl_merger", {"mm.2.bias": (64,)}, "llama"),
    ],
)
def test_widths_of_the_families(folder: Path, kind: str, shapes: Shapes, architecture: str) -> None:
    mmproj = projector(folder / "p.gguf", kind, shapes)
    assert check_pair(model(folder / "m.gguf", architecture), mmproj).projector_width == 64
    assert "p.gguf does not fit m.gguf: its vectors have 64 numbers" in refusal(
        model(folder / "m.gguf", architecture, n_embd=32), mmproj, PairingError
    )


@pytest.mark.parametrize(
    ("kind", "shapes", "architecture"),
    [
        ("gemma3", {"mm.input_projection.weight": (64, 8)}, "qwen3"),
        ("qwen3vl_merger", {"mm.2.bias": (64,)}, "qwen2vl"),
        ("mlp", {"mm.2.weight": (8, 64)}, "qwen2vl"),
    ],
)
def test_strangers_of_equal_width(folder: Path, kind: str, shapes: Shapes, architecture: str) -> None:
    message = refusal(model(folder / "m.gguf", architecture), projector(folder / "p.gguf", kind, shapes), PairingError)
    assert "p.gguf does not fit m.gguf" in message
    assert kind in message
    assert message.endswith(f"not for {architecture}")


def test_the_wrong_way_round(folder: Path) -> None:
    m, p = model(folder / "m.gguf"), projector(folder / "p.gguf")
    with pytest.raises(PairingError, match="the wrong way round") as caught:
        check_pair(p, m)
    assert caught.value.hint == f"-m {m} --mmproj {p}"


def test_two_of_one_kind(folder: Path) -> None:
    m, p = model(folder / "m.gguf"), projector(folder / "p.gguf")
    assert "p.gguf is a projector, not a language model" in refusal(p, p, PairingError)
    assert "m.gguf is not a projector but a language model (qwen2vl)" in refusal(m, m, PairingError)


def test_a_model_alone(folder: Path) -> None:
    with pytest.raises(PairingError, match=r"m\.gguf is a language model \(qwen2\) and cannot see") as caught:
        require_projector(read_header(model(folder / "m.gguf", "qwen2")))
    assert "--mmproj" in (caught.value.hint or "")
    with pytest.raises(PairingError, match=r"p\.gguf is a projector"):
        require_projector(read_header(projector(folder / "p.gguf")))


def test_other_files_than_models(folder: Path) -> None:
    p = projector(folder / "p.gguf")
    (folder / "page.gguf").write_text("<html>")
    assert "page.gguf: not a GGUF file: it is a web page" in refusal(folder / "page.gguf", p)
    assert "page.gguf: not a GGUF file" in refusal(model(folder / "m.gguf"), folder / "page.gguf")
    assert "no such model file" in refusal(folder / "nowhere.gguf", p)
    assert "vocabulary only" in refusal(write(folder / "v.gguf", {"general.architecture": (STRING, "llama")}, {}), p)
    lora = {"general.architecture": (STRING, "llama"), "general.type": (STRING, "adapter")}
    assert "adapter" in refusal(write(folder / "l.gguf", lora, {"w": (1,)}), p)
    assert "architecture" in refusal(write(folder / "n.gguf", {}, {"w": (1,)}), p)
    nameless = {"general.architecture": (STRING, "a\nb")}
    assert "architecture" in refusal(write(folder / "n.gguf", nameless, {"w": (1,)}), p)
    assert "llama.embedding_length" in refusal(
        write(folder / "e.gguf", {"general.architecture": (STRING, "llama")}, {"w": (1,)}), p
    )


@pytest.mark.parametrize("which", ["m.gguf", "p.gguf"])
def test_truncated_files(folder: Path, which: str) -> None:
    m, p = model(folder / "m.gguf"), projector(folder / "p.gguf")
    data = (folder / which).read_bytes()
    (folder / which).write_bytes(data[:-200])
    assert f"{which}: truncated: it has {len(data) - 200:,} of " in refusal(m, p)
    (folder / which).write_bytes(data[:300])
    assert f"{which}: truncated: the file ends at byte 300" in refusal(m, p)


def test_a_projector_of_2023(folder: Path) -> None:
    llava = projector(folder / "p.gguf", shapes={"mm.2.weight": (8, 64)}, clip__projector_type=None)
    m = model(folder / "m.gguf", "llama")
    assert "p.gguf is a projector of 2023: without clip.projector_type" in refusal(m, llava)
    report = check_pair(m, llava, allow_untyped=True)
    assert (report.projector_type, report.projector_type_inferred) == ("mlp", True)


def test_a_type_under_the_vision_key(folder: Path) -> None:
    more = {"clip__projector_type": None, "clip__vision__projector_type": (STRING, "qwen2.5vl_merger")}
    report = check_pair(model(folder / "m.gguf"), projector(folder / "p.gguf", **more))
    assert (report.projector_type, report.projector_type_inferred) == ("qwen2.5vl_merger", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clip__projector_type": (STRING, "telepathy")}, "'telepathy' is not known"),
        ({"clip__projector_type": (STRING, "a\nb")}, r"'a\nb'"),
        ({"clip__projector_type": (STRING, "ultravox")}, "for sound (ultravox)"),
        ({"clip__has_vision_encoder": None}, "no vision encoder"),
        ({"clip__has_vision_encoder": (BOOL, False), "clip__has_audio_encoder": (BOOL, True)}, "for sound"),
        ({"clip__vision__image_size": (I32, 224)}, "clip.vision.image_size is stored as int32, not as uint32"),
        ({"clip__vision__spatial_merge_size": (F32, 2)}, "stored as float32"),
        ({"clip__vision__image_mean": (F32, [0.5])}, "fewer than 3"),
        ({"clip__vision__patch_size": None}, "clip.vision.patch_size is missing"),
        ({"clip__vision__attention__head_count": (U32, 0)}, "head_count is 0"),
        ({"shapes": {"mm.0.weight": (8, 8)}}, "mm.2.bias of a qwen2vl_merger projector is missing"),
    ],
)
def test_projectors_that_llama_cpp_cannot_use(folder: Path, change: dict[str, Any], words: str) -> None:
    message = refusal(model(folder / "m.gguf"), projector(folder / "p.gguf", **change))
    assert "p.gguf" in message
    assert words in message


def test_every_vision_type_has_a_width(folder: Path) -> None:
    assert not VISION_PROJECTORS & AUDIO_PROJECTORS
    for kind in VISION_PROJECTORS:
        mmproj = read_header(projector(folder / "p.gguf", kind, {}))
        with pytest.raises(ModelError):
            compare(read_header(model(folder / "m.gguf", "llama")), mmproj)


def test_split_models(folder: Path) -> None:
    parts = [folder / f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    p = projector(folder / "p.gguf")
    first = model(parts[0], split__count=(U32, 3))
    assert "2 of 3 parts missing: m-00002-of-00003.gguf and 1 more" in refusal(first, p, thorough=False)
    for part in parts[1:]:
        write(part, {"split.no": (U32, 1)}, {"w": (1,)})
    assert split_parts(first) == parts
    assert check_pair(first, p).n_embd == 64
    with pytest.raises(ModelError, match="part 2 of a split model") as caught:
        split_parts(parts[1])
    assert caught.value.hint == f"-m {first}"
    parts[2].write_bytes(parts[2].read_bytes()[:-30])
    assert "m-00003-of-00003.gguf: truncated" in refusal(first, p)
    renamed = model(folder / "renamed.gguf", split__count=(U32, 3))
    assert "one of the 3 parts" in refusal(renamed, p)


def test_no_projector_beside_the_model(folder: Path) -> None:
    m = model(folder / "m.gguf")
    assert find_projector(m) is None
    (folder / "other.gguf").write_text("no projector by its name")
    assert find_projector(m) is None


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("truncated", r"mmproj-x\.gguf: truncated"),
        ("page", r"mmproj-x\.gguf: not a GGUF file: it is a web page"),
        ("empty", r"mmproj-x\.gguf: not a GGUF file: it is empty"),
        ("foreign", r"mmproj-x\.gguf does not fit m\.gguf: its vectors have 32 numbers"),
    ],
)
def test_why_the_projector_beside_the_model_is_of_no_use(folder: Path, what: str, why: str) -> None:
    m, p = model(folder / "m.gguf"), projector(folder / "mmproj-x.gguf")
    if what == "truncated":
        p.write_bytes(p.read_bytes()[:-5])
    elif what == "foreign":
        projector(p, shapes={"mm.2.bias": (32,)})
    else:
        p.write_text("<html>" if what == "page" else "")
    with pytest.raises(ModelError, match=why):
        find_projector(m)
    (folder / "mmproj-y.gguf").write_text("")
    with pytest.raises(ModelError, match=r"1 more beside it"):
        find_projector(m)
    good = projector(folder / "mmproj-z.gguf")
    assert find_projector(m) == good


def test_a_missing_part_of_the_model_is_told_before_its_projector(folder: Path) -> None:
    first = model(folder / "m-00001-of-00002.gguf", split__count=(U32, 2))
    projector(folder / "mmproj-m.gguf")
    with pytest.raises(ModelError, match=r"1 of 2 parts missing: m-00002-of-00002\.gguf"):
        find_projector(first)
    second = write(folder / "m-00002-of-00002.gguf", {"split.no": (U32, 1)}, {"blk.1.attn_norm.weight": (64,)})
    with pytest.raises(ModelError, match="is part 2 of a split model: the first is wanted"):
        find_projector(second)


def test_the_projector_named_like_the_model_wins(folder: Path) -> None:
    m = model(folder / "Qwen2-VL-2B-Instruct-Q4_K_M.gguf")
    generic = projector(folder / "mmproj-model-f16.gguf", ggml_type=1)
    assert find_projector(m) == generic
    projector(folder / "mmproj-Qwen2-VL-2B-Instruct-f32.gguf")
    bf16 = projector(folder / "mmproj-Qwen2-VL-2B-Instruct-BF16.gguf", ggml_type=30)
    assert find_projector(m) == bf16
    f16 = projector(folder / "mmproj-Qwen2-VL-2B-Instruct-f16.gguf", ggml_type=1)
    projector(folder / "mmproj-Other-VL-f16.gguf", ggml_type=1)
    assert find_projector(m) == f16


def test_projectors_of_different_models_are_ambiguous(folder: Path) -> None:
    m = model(folder / "finetune.gguf")
    one = projector(folder / "mmproj-alpha-f16.gguf")
    assert find_projector(m) == one
    projector(folder / "mmproj-beta-f16.gguf")
    with pytest.raises(PairingError, match=r"mmproj-alpha-f16\.gguf, mmproj-beta-f16\.gguf") as caught:
        find_projector(m)
    assert "--mmproj FILE" in (caught.value.hint or "")


def test_a_projector_that_belongs_to_its_neighbour(folder: Path) -> None:
    older, newer = model(folder / "Qwen2-VL-7B-Q4_K_M.gguf"), model(folder / "Qwen2.5-VL-7B-Q8_0.gguf")
    mmproj = projector(folder / "mmproj-Qwen2.5-VL-7B-f16.gguf", "qwen2.5vl_merger")
    assert find_projector(newer) == mmproj
    assert find_projector(older) is None


def test_the_models_own_projector_is_damaged(folder: Path) -> None:
    m = model(folder / "alpha-Q8_0.gguf")
    broken = projector(folder / "mmproj-alpha-F16.gguf")
    broken.write_bytes(broken.read_bytes()[:-5])
    with pytest.raises(ModelError, match=r"mmproj-alpha-F16\.gguf: truncated"):
        find_projector(m)


def test_show_tells_what_llama_cpp_computes_otherwise(folder: Path) -> None:
    projector(folder / "mmproj.gguf", "qwen3vl_merger", {"mm.2.bias": (64,)})
    model(folder / "m.gguf", "qwen3vl")
    facts = show.gather(str(folder / "m.gguf"), folder / "mmproj.gguf")
    assert facts["known_faults"] == ["two of 64 rotary pairs of the vision tower turn otherwise than the reference's"]
    assert "in llama.cpp  two of 64 rotary pairs" in show._text(facts)
