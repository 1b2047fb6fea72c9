"""From names to files: what is picked, and what lies on this machine already."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.errors import ModelError, PairingError, UsageError
from ggufvlm.gguf.names import quant_of
from ggufvlm.models.hub import select as hub_pick
from ggufvlm.models.hub.cache import blob_path, link, snapshot_path
from ggufvlm.models.hub.select import as_parts, is_projector, pick, pick_quants, require_projector
from ggufvlm.models.registry import load_registry
from ggufvlm.models.resolve import default_model, find_model, from_registry, is_path, on_disk, parse_name
from ggufvlm.models.schema import DEFAULT_QUANT
from tests.support.hub_server import COMMIT, MODEL, PROJECTOR, sha256

OLD_CPU = ("F16", "Q8_0", "BF16", "F32")


@pytest.fixture(autouse=True)
def _old_cpu(monkeypatch):
    monkeypatch.setattr(hub_pick, "cpu_has_bf16", lambda: False)


def chosen(*names: str, quant: str | None = None, repo: str = "me/Model-GGUF"):
    found = pick(as_parts(dict.fromkeys(names, 1)), repo, None, quant)
    return [found.model.name, *(file.name for file in found.projectors)]


# ---- names of files


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("Qwen2-VL-2B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("model.Q4_K_M.gguf", "Q4_K_M"),
        ("ggml-model-q4_k.gguf", "Q4_K"),
        ("mmproj-Model-BF16.gguf", "BF16"),
        ("mmproj-model-f16.gguf", "F16"),
        ("model-fp16.gguf", "F16"),
        ("Model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Model-IQ4_XS.gguf", "IQ4_XS"),
        ("Model-MXFP4.gguf", "MXFP4"),
        ("moondream2-text-model-f16_ct-vicuna.gguf", "F16"),
        ("F16/Model-F16-00001-of-00003.gguf", "F16"),
        ("Q8_0/model.gguf", "Q8_0"),
        ("gemma-3-4b-it-qat-q4_0.gguf", "Q4_0"),
        ("LLaVA-F16-lookalike-Q2_K.gguf", "Q2_K"),
        ("Qwen3-VL.gguf", None),
        ("", None),
    ],
)
def test_quantization_of_a_name(name, quant):
    assert quant_of(name) == quant


@pytest.mark.parametrize(
    "name", ["mmproj-model-f16.gguf", "PaddleOCR-VL-1.6-GGUF-mmproj.gguf", "Model.mmproj-Q8_0.gguf", "sub/mmproj.gguf"]
)
def test_projectors_are_told_by_their_names(name):
    assert is_projector(name)
    assert not is_projector(name.replace("mmproj", "model"))


def test_every_name_of_the_registry_is_understood():
    for spec in load_registry():
        for file in spec.projectors:
            assert is_projector(file.name), file.name
        for file in (*spec.files, *spec.projectors):
            assert quant_of(file.name) in (None, file.quant) or "quant" in file.unverified, file.name


# ---- what is picked


def test_f16_is_not_bf16():
    names = ["m-BF16.gguf", "m-Q4_K_M.gguf", "mmproj-BF16.gguf"]
    with pytest.raises(ModelError, match="me/Model-GGUF has no F16") as caught:
        chosen(*names, quant="F16")
    assert caught.value.hint == "there is Q4_K_M, BF16"
    assert chosen(*names, "m-F16.gguf", quant="f16")[0] == "m-F16.gguf"


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ("Q2_K Q4_K_M Q8_0", "Q4_K_M"),
        ("Q2_K Q4_K_S Q8_0", "Q4_K_S"),
        ("Q2_K Q5_K_M Q8_0 F16", "Q5_K_M"),
        ("BF16 F16 Q8_0", "Q8_0"),
        ("BF16 F16", "F16"),
        ("IQ2_XXS", "IQ2_XXS"),
    ],
)
def test_default_quantization_is_the_nearest_common_one(there, taken):
    assert chosen(*(f"m-{quant}.gguf" for quant in there.split()))[0] == f"m-{taken}.gguf"


def test_order_of_projectors(monkeypatch):
    names = ["m-Q4_K_M.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-Q8_0.gguf", "mmproj-F16.gguf"]
    assert [quant_of(name) for name in chosen(*names)[1:]] == ["F16", "Q8_0", "BF16", "F32"]
    monkeypatch.setattr(hub_pick, "cpu_has_bf16", lambda: True)
    assert [quant_of(name) for name in chosen(*names)[1:]] == ["F16", "BF16", "Q8_0", "F32"]


def test_projector_named_like_the_model_comes_first():
    names = ["a-7b-Q4_K_M.gguf", "a-2b-Q8_0.gguf", "mmproj-a-2b-F16.gguf", "mmproj-a-7b-BF16.gguf"]
    assert chosen(*names)[:2] == ["a-7b-Q4_K_M.gguf", "mmproj-a-7b-BF16.gguf"]
    assert chosen(*names, quant="Q8_0")[:2] == ["a-2b-Q8_0.gguf", "mmproj-a-2b-F16.gguf"]


def test_companions_are_no_models():
    companions = ["m-mtp-Q4_K_M.gguf", "m-draft-Q4_K_M.gguf", "m.imatrix.gguf", "imatrix-Q8_0.gguf", "lora-F16.gguf"]
    assert chosen(*companions, "m-Q8_0.gguf") == ["m-Q8_0.gguf"]
    with pytest.raises(ModelError, match="holds no GGUF model"):
        chosen(*companions, "mmproj-F16.gguf", "README.md")


def test_split_models_are_taken_whole_or_not_at_all():
    parts = [f"F16/m-F16-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    found = pick(as_parts(dict.fromkeys(parts, 5)), "me/Model-GGUF", None, "F16")
    assert ([part.name for part in found.model.parts], found.model.size) == (parts, 15)
    with pytest.raises(ModelError, match="has no F16"):
        chosen(*parts[:2], "m-Q8_0.gguf", quant="F16")


def test_of_several_models_the_one_called_like_the_repository():
    names = ["other-Q4_K_M.gguf", "model-Q4_K_M.gguf", "model-abliterated-Q4_K_M.gguf"]
    assert chosen(*names)[0] == "model-Q4_K_M.gguf"


def test_model_without_projector_is_refused():
    found = pick(as_parts({"m-Q8_0.gguf": 1}), "me/Model-GGUF", None)
    with pytest.raises(PairingError, match=r"holds no projector \(mmproj\), so m-Q8_0\.gguf cannot see"):
        require_projector(found, "me/Model-GGUF")


@given(st.lists(st.text(max_size=12).map(lambda text: f"{text}-Q4_K_M.gguf"), max_size=6))
def test_any_names_are_taken_or_refused(names):
    parts = as_parts(dict.fromkeys(names, 1))
    try:
        found = pick(parts, "me/Model-GGUF", None)
    except ModelError:
        return
    assert found.model.quant in pick_quants(parts)


def test_flags_of_the_processor(monkeypatch):
    monkeypatch.undo()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert (hub_pick.projector_order()[1] == "BF16") == bool(re.search(r"\bavx512_bf16\b", flags))
    assert set(hub_pick.projector_order()) == set(OLD_CPU)


# ---- names of models


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("qwen2-vl-2b", ("qwen2-vl-2b", None, "ggml-org/Qwen2-VL-2B-Instruct-GGUF")),
        ("qwen2-vl-2b:q8_0", ("qwen2-vl-2b:Q8_0", "Q8_0", "ggml-org/Qwen2-VL-2B-Instruct-GGUF")),
        ("Qwen/Qwen2-VL-2B-Instruct", ("qwen2-vl-2b", None, "ggml-org/Qwen2-VL-2B-Instruct-GGUF")),
        ("ggml-org/Qwen2-VL-2B-Instruct-GGUF:F16", ("qwen2-vl-2b:F16", "F16", "ggml-org/Qwen2-VL-2B-Instruct-GGUF")),
        ("me/Model-GGUF", ("me/Model-GGUF", None, "me/Model-GGUF")),
        ("me/Model-GGUF:UD-Q4_K_XL", ("me/Model-GGUF:UD-Q4_K_XL", "UD-Q4_K_XL", "me/Model-GGUF")),
        ("https://huggingface.co/me/Model-GGUF/", ("me/Model-GGUF", None, "me/Model-GGUF")),
        ("hf.co/me/Model-GGUF:Q8_0", ("me/Model-GGUF:Q8_0", "Q8_0", "me/Model-GGUF")),
        ("demo", ("demo", None, None)),
    ],
)
def test_names(name, meant):
    wanted = parse_name(name, load_registry())
    assert (wanted.name, wanted.quant, wanted.repo) == meant


@pytest.mark.parametrize(("name", "hint"), [("qwen2-vl-2", "qwen2-vl-2b"), ("google/paligemma-3b", "gemma-3-4b")])
def test_names_that_mean_nothing(name, hint):
    with pytest.raises(ModelError) as caught:
        find_model(name, fetch=None)
    assert hint in caught.value.hint


def test_default_model(monkeypatch, tmp_path):
    assert default_model() == load_registry().default.id
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.toml").write_text('model = "demo"')
    assert default_model() == "demo"
    assert find_model().name == "demo"
    monkeypatch.setenv("GGUFVLM_MODEL", "smolvlm-500m")
    assert default_model() == "smolvlm-500m"
    monkeypatch.delenv("GGUFVLM_MODEL")
    for wrong in ("model = 1", "model = ", b"\xff"):
        (folder / "config.toml").write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        with pytest.raises(UsageError, match=r"config\.toml"):
            default_model()


def test_files_of_ones_own(tmp_path):
    (tmp_path / "m-Q8_0.gguf").write_bytes(MODEL)
    with pytest.raises(ModelError, match="no projector lies beside"):
        find_model(str(tmp_path / "m-Q8_0.gguf"))
    (tmp_path / "mmproj-F16.gguf").write_bytes(PROJECTOR)
    files = find_model(str(tmp_path / "m-Q8_0.gguf"))
    assert (files.name, files.mmproj.name) == ("m-Q8_0", "mmproj-F16.gguf")
    for missing in ("none.gguf", "demo"):
        with pytest.raises(ModelError, match="no such file"):
            find_model(str(tmp_path / "none.gguf") if missing == "none.gguf" else "demo", tmp_path / "nothing.gguf")


def test_demo_with_another_projector(tmp_path):
    (tmp_path / "mine.gguf").write_bytes(PROJECTOR)
    assert find_model("demo", tmp_path / "mine.gguf").mmproj == tmp_path / "mine.gguf"


# ---- what lies on this machine


def put(repo: str, name: str, content: bytes, commit: str = COMMIT) -> Path:
    """A file in the cache, as if it had been downloaded."""
    blob = blob_path(repo, sha256(content))
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link(blob, snapshot_path(repo, commit, name))
    return snapshot_path(repo, commit, name)


def test_nothing_is_fetched_if_it_must_not(hub):
    with pytest.raises(ModelError, match="qwen2-vl-2b is not on this machine") as caught:
        find_model("qwen2-vl-2b", fetch=None)
    assert caught.value.hint == "ggufvlm pull qwen2-vl-2b"
    assert hub.log == []


def test_quantization_that_is_here_is_better_than_one_that_is_not(hub):
    spec = load_registry().find("qwen2.5-vl-3b")
    assert spec.revision
    model, projector = spec.model_file("Q8_0"), spec.projector("Q8_0")
    put(spec.repo, model.name, MODEL, spec.revision)
    assert on_disk(parse_name(spec.id, load_registry())) is None
    put(spec.repo, projector.name, PROJECTOR, spec.revision)
    files = find_model(spec.id)
    assert (files.name, files.mmproj.name) == (f"{spec.id}:Q8_0", projector.name)
    assert on_disk(parse_name(f"{spec.id}:Q4_K_M", load_registry())) is None
    put(spec.repo, spec.model_file(DEFAULT_QUANT).name, MODEL + b"0", spec.revision)
    assert find_model(spec.id).name == spec.id
    assert hub.log == []


def test_stranger_on_this_machine(hub):
    put("me/Model-GGUF", "m-Q8_0.gguf", MODEL)
    put("me/Model-GGUF", "mmproj-Q8_0.gguf", PROJECTOR)
    assert find_model("me/Model-GGUF").name == "me/Model-GGUF:Q8_0"
    assert find_model("me/Model-GGUF:Q8_0").mmproj.name == "mmproj-Q8_0.gguf"
    assert hub.log == []
    with pytest.raises(ModelError, match="there is no repository me/Model-GGUF"):
        find_model("me/Model-GGUF:Q4_K_M")


def test_pinned_file_of_another_commit_is_taken_by_its_checksum_only(hub):
    spec = load_registry().find("smolvlm-500m")
    selection = from_registry(spec)
    for file in (selection.model, selection.projectors[0]):
        put(file.repo, file.name, b"other bytes", "f" * 40)
    assert on_disk(parse_name(spec.id, load_registry())) is None


def test_links_that_do_not_work_are_done_without(hub, monkeypatch):
    from huggingface_hub import constants

    if not hasattr(constants, "HF_HUB_DISABLE_SYMLINKS"):
        pytest.skip("this huggingface_hub cannot be told to do without links")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    hub.add("me/Model-GGUF", {"m-Q8_0.gguf": MODEL, "mmproj-F16.gguf": PROJECTOR})
    files = find_model("me/Model-GGUF")
    assert not files.model.is_symlink()
    assert files.model.read_bytes() == MODEL
    hub.forget()
    assert find_model("me/Model-GGUF") == files
    assert hub.log == []


# ---- files of repositories, folders


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("me/Model-GGUF:Model-Q4_K_M.gguf", ("me/Model-GGUF:Model-Q4_K_M.gguf", "me/Model-GGUF", "Model-Q4_K_M.gguf")),
        (
            "https://huggingface.co/me/Model-GGUF/resolve/main/sub/m-Q8_0.gguf?download=true",
            ("me/Model-GGUF:sub/m-Q8_0.gguf", "me/Model-GGUF", "sub/m-Q8_0.gguf"),
        ),
        ("https://huggingface.co/me/M/blob/main/m.gguf", ("me/M:m.gguf", "me/M", "m.gguf")),
        ("hf.co/me/M/tree/main", ("me/M", "me/M", None)),
        (
            "https://huggingface.co/ggml-org/Qwen2-VL-2B-Instruct-GGUF/blob/main/Qwen2-VL-2B-Instruct-Q4_K_M.gguf",
            ("qwen2-vl-2b:Q4_K_M", "ggml-org/Qwen2-VL-2B-Instruct-GGUF", None),
        ),
    ],
)
def test_files_of_repositories_by_name_and_address(name, meant):
    assert not is_path(name)
    wanted = parse_name(name, load_registry())
    assert (wanted.name, wanted.repo, wanted.file) == meant


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("hf.co/me/M/resolve/abc/m.gguf", "abc: only the main branch", "-m me/M:m.gguf"),
        ("me/M:mmproj-F16.gguf", "mmproj-F16.gguf is a projector", "-m me/M"),
        ("https://example.org/m.gguf", "https://example.org/m.gguf: models come from the Hub", "download it"),
    ],
)
def test_addresses_that_are_no_models(name, error, hint):
    with pytest.raises(ModelError, match=error) as caught:
        find_model(name, fetch=None)
    assert hint in caught.value.hint


def test_of_several_models_in_one_quantization_none_is_taken_silently():
    names = ["cat-Q4_K_M.gguf", "dog-Q4_K_M.gguf", "dog-Q8_0.gguf", "mmproj-F16.gguf"]
    with pytest.raises(ModelError, match=r"holds 2 models in Q4_K_M: cat-Q4_K_M\.gguf, dog-Q4_K_M\.gguf") as caught:
        chosen(*names)
    assert caught.value.hint == "-m me/Model-GGUF:cat-Q4_K_M.gguf"
    assert chosen(*names, quant="Q8_0")[0] == "dog-Q8_0.gguf"
    many = [f"model{n}-Q4_K_M.gguf" for n in range(600)]
    with pytest.raises(ModelError, match="and 592 more"):
        chosen(*many)
    found = pick(as_parts(dict.fromkeys(["model-Q4_K_M.gguf", *names], 1)), "me/Model-GGUF", None)
    assert (found.model.name, found.others) == ("model-Q4_K_M.gguf", ("cat-Q4_K_M.gguf", "dog-Q4_K_M.gguf"))


def test_a_model_is_picked_by_the_name_of_its_file():
    parts = as_parts(dict.fromkeys(["a-Q4_K_M.gguf", "sub/b-Q4_K_M.gguf", "mmproj-F16.gguf"], 1))
    assert pick(parts, "me/M", None, name="B-q4_k_m.gguf").model.name == "sub/b-Q4_K_M.gguf"
    with pytest.raises(ModelError, match=r"me/M has no c\.gguf") as caught:
        pick(parts, "me/M", None, name="c.gguf")
    assert caught.value.hint == "there is a-Q4_K_M.gguf, b-Q4_K_M.gguf"


def test_a_folder_stands_for_the_pair_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(ModelError, match="mine: no GGUF model in this folder"):
        find_model("./mine")
    (folder / "m-Q8_0.gguf").write_bytes(MODEL)
    (folder / "mmproj-m-F16.gguf").write_bytes(PROJECTOR)
    for name in ("mine", "mine/", "./mine", str(folder)):
        files = find_model(name)
        assert (files.name, files.mmproj.name) == ("m-Q8_0", "mmproj-m-F16.gguf")
    (folder / "n-Q8_0.gguf").write_bytes(MODEL)
    with pytest.raises(ModelError, match=r"holds 2 models: m-Q8_0\.gguf, n-Q8_0\.gguf") as caught:
        find_model("mine")
    assert caught.value.hint == f"name one: -m {Path('mine', 'm-Q8_0.gguf')}"
    folder.rename(tmp_path / "demo")
    assert find_model("demo").spec is not None, "a name of the registry comes before a folder"
