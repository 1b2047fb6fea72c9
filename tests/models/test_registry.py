from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.config import SamplingParams
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.models.registry import (
    FilePart,
    ImageFacts,
    ModelFile,
    ModelSpec,
    Registry,
    SamplingDefaults,
    config_dir,
    load_registry,
)
from ggufvlm.models.schema import read_model


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# general.architecture of vision models, from src/llama-arch.cpp of the llama.cpp inside llama-cpp-python 0.3.36.
ARCHITECTURES = _words(
    """llama llama4 qwen qwen2 qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe qwen35 qwen35moe phi2 phi3 minicpm minicpm3
    internlm2 gemma gemma2 gemma3 gemma3n gemma4 deepseek deepseek2 deepseek2-ocr deepseek4 chatglm glm4 glm4moe granite
    granitemoe granitehybrid hunyuan-dense hunyuan_vl ernie4_5 smollm3 lfm2 lfm2moe cogvlm mistral3 mistral4 paddleocr
    mimo2 minimax-m3 kimi-linear"""
)
# clip.projector_type, from PROJECTOR_TYPE_NAMES in tools/mtmd/clip-impl.h of the same llama.cpp, without audio.
PROJECTOR_TYPES = _words(
    """mlp ldp ldpv2 resampler minicpmv4_6 adapter qwen2vl_merger qwen2.5vl_merger qwen2.5o qwen3vl_merger ling3vl
    step3vl gemma3 gemma3nv gemma4v gemma4uv phi4 idefics3 pixtral internvl llama4 lfm2 kimivl kimik25 paddleocr
    lightonocr cogvlm janus_pro dots_ocr dots3note_v deepseekocr deepseekocr2 deepseek4v glm4v glm5v youtuvl yasa2
    nemotron_v2_vl exaone4_5 hunyuanvl mimovl minimax_m3 granite4_vision muse-glimmer"""
)
QUANTS = _words("F32 BF16 F16 Q8_0 Q6_K Q5_K_M Q4_K_M Q4_0 INT4")
TEMPLATES = _words("vicuna llava-mistral chatml llama-3 phi-3 bakllava moondream yi plain")
GROUNDINGS = _words(
    """qwen2_rel1000 qwen25_abs_px qwen3_rel1000 internvl_box minicpm_box glm_rel1000 deepseek_det999 gemini_yx1000
    dots_abs_px doctags json_rel1 json_rel1000"""
)
FAMILIES = _words(
    """demo qwen2-vl-2b qwen2.5-vl-7b qwen3-vl-4b llava-1.5-7b llava-1.6-mistral-7b smolvlm-500m smolvlm2-2.2b
    moondream2 minicpm-v-2.6 internvl3-2b gemma-3-4b gemma-4-e2b pixtral-12b lfm2-vl-450m granite-vision-3.2-2b glm-ocr
    paddleocr-vl-1.6 deepseek-ocr"""
)

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("GGUFVLM_CONFIG_DIR", "no-such-folder")
    REGISTRY = load_registry()
MODELS = pytest.mark.parametrize("spec", REGISTRY, ids=lambda spec: spec.id)

FINE_TUNE = "Qwen2-VL-2B-Instruct-abliterated-Q4_K_M.gguf"
MINE = """
[models.mine]
repo = "me/Mine-GGUF"
files = [{ quant = "q4_k_m", name = "Mine-Q4_K_M.gguf" }]
projectors = [{ quant = "F16", name = "mmproj-Mine-F16.gguf" }]
"""


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(tmp_path / "settings"))


@pytest.fixture
def registry():
    return load_registry()


@pytest.fixture
def load(tmp_path):
    """Load the packaged registry with ``text`` as the user's models.toml."""

    def write_and_load(text: str | bytes) -> Registry:
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_registry(path)

    return write_and_load


def _spec(model_id: str = "small", **changes: object) -> ModelSpec:
    def file(quant: str, name: str) -> ModelFile:
        return ModelFile(quant=quant, parts=(FilePart(name=name),), repo="me/small")

    given = {"files": (file("F16", "a-F16.gguf"),), "projectors": (file("BF16", "mmproj-BF16.gguf"),), **changes}
    return ModelSpec(id=model_id, **given)


# ---- the packaged models.toml


def test_every_family_has_an_entry():
    assert not FAMILIES - {spec.id for spec in REGISTRY}
    assert REGISTRY.default.id == "qwen2-vl-2b"


@MODELS
def test_entry_is_complete(spec):
    assert spec.summary == spec.summary.strip()
    assert 0 < len(spec.summary) <= 100
    assert spec.license
    assert None not in (spec.params, spec.context, spec.memory_gb, spec.architecture, spec.projector_type)
    assert SamplingParams(**spec.sampling.given()).temperature == spec.sampling.temperature
    assert spec.builtin or spec.repo


@MODELS
def test_entry_uses_names_that_llama_cpp_and_ggufvlm_know(spec):
    assert spec.architecture in ARCHITECTURES
    assert spec.projector_type in PROJECTOR_TYPES
    assert {file.quant for file in (*spec.files, *spec.projectors)} <= QUANTS
    assert spec.template is None or spec.template in TEMPLATES
    assert spec.grounding is None or spec.grounding in GROUNDINGS


@MODELS
def test_quant_agrees_with_the_file_name(spec):
    for file in (*spec.files, *spec.projectors):
        if "quant" not in file.unverified:
            assert re.search(rf"(?<![a-z0-9]){file.quant.lower()}(?![a-z0-9])", file.name.lower())


@MODELS
def test_unverified_names_fields_that_have_a_value(spec):
    for name in spec.unverified:
        assert getattr(spec, name)
    for file in (*spec.files, *spec.projectors):
        for name in set(file.unverified) - {"revision"}:
            assert name == "quant" or all(getattr(part, name) for part in file.parts)
        if "revision" in file.unverified:
            assert spec.revision
            assert file.revision is None


@MODELS
def test_every_name_finds_its_entry(spec):
    for name in (spec.id, spec.id.upper(), *spec.aliases):
        assert REGISTRY.find(name) is spec
        assert REGISTRY.unsupported(name) is None
        assert REGISTRY.split_quant(name) == (name, None)
        assert REGISTRY.split_quant(f"{name}:q8_0") == (name, "Q8_0")


def test_hashes_and_names_within_a_repository_are_unique():
    parts = [(file.repo, part) for spec in REGISTRY for file in (*spec.files, *spec.projectors) for part in file.parts]
    hashes = [part.sha256 for _, part in parts if part.sha256]
    places = [(repo, part.name) for repo, part in parts]
    assert len(set(hashes)) == len(hashes)
    assert len(set(places)) == len(places)


def test_split_model_lists_its_parts():
    file = REGISTRY.find("qwen2.5-vl-32b").model_file("F16")
    assert [part.name[-23:-14] for part in file.parts] == ["f16-00001", "f16-00002"]
    assert file.name.endswith("f16-00001-of-00002.gguf")


def test_builtin_model_needs_no_repository():
    spec = REGISTRY.find("demo")
    assert (spec.builtin, spec.repo, spec.model_file().name) == (True, None, "tiny-qwen2vl-Q8_0.gguf")


# ---- lookups


def test_iteration_is_sorted_and_names_are_unique(registry):
    ids = [spec.id for spec in registry]
    names = [*ids, *(alias for spec in registry for alias in spec.aliases)]
    assert ids == sorted(ids)
    assert len(registry) == len(ids)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", ["qwen2-vl", "Qwen2_VL 2B Instruct", "ggml-org/qwen2-vl-2b-instruct-gguf", "Qwen/Qwen2-VL-2B-Instruct"]
)
def test_find_takes_every_spelling(registry, name):
    assert registry.find(name).id == "qwen2-vl-2b"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("qwen2-vl-2", "qwen2-vl-2b"), ("smolvml", "smolvlm-500m"), ("docling-258", "docling"), ("xyzzy", "ggufvlm list")],
)
def test_unknown_model_suggests_names_or_where_to_look(registry, typo, meant):
    with pytest.raises(ModelError, match=f"unknown model: {typo}") as caught:
        registry.find(typo)
    assert meant in caught.value.hint


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("google/paligemma-3b-mix-224", "gemma-3-4b"),
        ("Llama-3.2-11B-Vision-Instruct", "qwen3-vl-8b"),
        ("llama3.2-vision:11b", "qwen3-vl-8b"),
        ("deepseek_vl2_tiny", "qwen3-vl-8b"),
        ("blip2-opt-2.7b", "smolvlm2-2.2b"),
    ],
)
def test_unsupported_model_says_why_and_what_to_take(registry, name, nearest):
    with pytest.raises(ModelError, match="cannot run: ") as caught:
        registry.find(name)
    assert nearest in caught.value.hint


def test_supported_names_are_not_called_unsupported(registry):
    for name in ("deepseek-ocr", "moondream2", "idefics3-8b", "ovisocr2", "qwen2-vl-72b", "llama-3.2-3b", "unheard-of"):
        assert registry.unsupported(name) is None


@pytest.mark.parametrize(
    ("filename", "model"),
    [
        ("Qwen2-VL-2B-Instruct-Q4_K_M.gguf", "qwen2-vl-2b"),
        ("/models/qwen2-vl-2b-instruct-q4_k_m.gguf", "qwen2-vl-2b"),
        ("C:\\models\\Qwen2-VL-2B-Instruct-IQ3_XS.gguf", "qwen2-vl-2b"),
        ("Qwen_Qwen2.5-VL-7B-Instruct-Q6_K.gguf", "qwen2.5-vl-7b"),
        ("llava-v1.6-mistral-7b.Q3_K_M.gguf", "llava-1.6-mistral-7b"),
        ("Qwen2.5-VL-32B-Instruct-f16-00002-of-00002.gguf", "qwen2.5-vl-32b"),
        ("Qwen3-VL-4B-Instruct-UD-Q4_K_XL.gguf", "qwen3-vl-4b"),
    ],
)
def test_match_file(registry, filename, model):
    assert registry.match_file(filename) is registry.find(model)


@pytest.mark.parametrize("filename", ["ggml-model-Q4_K_M.gguf", "ggml-model-Q8_0.gguf", "", "_.gguf", FINE_TUNE])
def test_match_file_does_not_guess(registry, filename):
    assert registry.match_file(filename) is None


def test_match_repo(registry):
    assert registry.match_repo("GGML-org/smolvlm-500m-instruct-GGUF").id == "smolvlm-500m"
    assert registry.match_repo("someone/else") is None
    assert registry.match_repo("") is None


# ---- quantizations


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen2-vl-2b", ("qwen2-vl-2b", None)),
        ("qwen2-vl-2b:q8_0", ("qwen2-vl-2b", "Q8_0")),
        ("qwen2-vl-2b:nonsense", ("qwen2-vl-2b", "NONSENSE")),
        ("gemma3:4b", ("gemma3:4b", None)),
        ("gemma3:4b:Q8_0", ("gemma3:4b", "Q8_0")),
        ("someone/model-GGUF:UD-Q4_K_XL", ("someone/model-GGUF", "UD-Q4_K_XL")),
        ("someone/model-GGUF:main", ("someone/model-GGUF:main", None)),
        ("C:\\models\\a.gguf", ("C:\\models\\a.gguf", None)),
        ("https://host/a.gguf", ("https://host/a.gguf", None)),
        (":Q8_0", (":Q8_0", None)),
        ("qwen2-vl-2b:", ("qwen2-vl-2b:", None)),
    ],
)
def test_split_quant(registry, name, expected):
    assert registry.split_quant(name) == expected


@given(st.text())
def test_split_quant_loses_nothing(name):
    head, quant = REGISTRY.split_quant(name)
    assert name == head if quant is None else name.upper() == f"{head}:{quant}".upper()


@given(st.sampled_from(list(REGISTRY)), st.sampled_from(sorted(QUANTS)), st.booleans())
def test_split_quant_undoes_joining(spec, quant, lower):
    name = spec.aliases[0] if spec.aliases else spec.id
    assert REGISTRY.split_quant(f"{name}:{quant.lower() if lower else quant}") == (name, quant)


def test_quants_are_matched_as_a_whole():
    spec = _spec()
    assert spec.model_file("f16").quant == "F16"
    with pytest.raises(ModelError, match="small has no projector F16") as caught:
        spec.projector("F16")
    assert caught.value.hint == "there is BF16"
    with pytest.raises(ModelError, match="has no Q9_9") as caught:
        REGISTRY.find("qwen2.5-vl-3b").model_file("Q9_9")
    assert caught.value.hint == "there is Q4_K_M, Q8_0"


def test_default_quant_and_projector_preference(registry):
    spec = registry.find("qwen2-vl-2b")
    assert spec.model_file().quant == "Q4_K_M"
    assert spec.projector().quant == "F16"
    assert spec.projector(("BF16", "Q8_0", "F16")).quant == "Q8_0"
    assert registry.find("smolvlm-500m").model_file().quant == "Q8_0"
    assert _spec(default_quant="F16").model_file().quant == "F16"


def test_revision_is_left_out_for_a_file_not_seen_at_the_commit(registry):
    spec = registry.find("gemma-4-e4b")
    assert spec.model_file("Q4_K_M").revision == spec.revision
    assert spec.model_file("Q4_0").revision is None
    assert spec.model_file("Q4_0").repo == spec.repo


# ---- the user's own models.toml


def test_missing_user_file_is_fine_unless_asked_for(registry, tmp_path):
    assert load_registry() is registry
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.toml"):
        load_registry(tmp_path / "nowhere.toml")


def test_user_file_is_found_in_the_configuration_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(tmp_path))
    (tmp_path / "models.toml").write_text(MINE)
    assert config_dir() == tmp_path
    assert load_registry().find("mine").model_file().quant == "Q4_K_M"
    monkeypatch.delenv("GGUFVLM_CONFIG_DIR")
    assert config_dir().name == "ggufvlm"


def test_user_adds_an_entry_and_the_default(load):
    registry = load(f'default = "mine"\n{MINE}')
    spec = registry.default
    assert (spec.id, spec.origin, spec.handler) == ("mine", "user", "generic")
    assert spec.model_file().repo == "me/Mine-GGUF"
    assert len(registry) == len(REGISTRY) + 1
    assert registry.find("qwen2-vl").origin == "package"


def test_user_changes_single_values(load):
    text = '[models.qwen2-vl-2b]\nsampling.temperature = 0.5\ngrounding = ""\n[models.smolvlm-500m]\ncontext = 4096'
    registry = load(text)
    ours, theirs = REGISTRY.find("qwen2-vl-2b"), registry.find("qwen2-vl-2b")
    assert theirs.sampling == SamplingDefaults(temperature=0.5, top_p=0.001, top_k=1)
    assert theirs.grounding is None
    assert (theirs.files, theirs.image, theirs.aliases) == (ours.files, ours.image, ours.aliases)
    assert registry.find("smolvlm-500m").context == 4096
    assert load_registry().find("smolvlm-500m").context == 8192


def test_user_may_take_an_alias_but_not_an_id(load):
    assert load(MINE + 'aliases = ["qwen2-vl"]').find("qwen2-vl").id == "mine"
    assert load(MINE.replace("models.mine", "models.qwen2-vl")).find("qwen2-vl").id == "qwen2-vl"
    assert load(MINE.replace("models.mine", "models.paligemma")).find("paligemma").id == "paligemma"
    with pytest.raises(UsageError, match="qwen2-vl-7b names both qwen2-vl-7b and mine"):
        load(MINE + 'aliases = ["qwen2-vl-7b"]')


def test_user_file_may_start_with_a_byte_order_mark(load):
    assert "mine" in load(b"\xef\xbb\xbf" + MINE.encode())


def test_file_of_another_repository_has_no_revision_of_the_entry(load):
    commit = "0" * 40
    text = MINE.replace('repo = "me', f'revision = "{commit}"\nrepo = "me', 1)
    text = text.replace('name = "mmproj', 'repo = "you/other", name = "mmproj')
    spec = load(text).find("mine")
    assert (spec.model_file().revision, spec.projector().revision) == (commit, None)
    assert spec.projector().repo == "you/other"


def _changed(line: str) -> str:
    return f"[models.qwen2-vl-2b]\n{line}"


def _mine(old: str, new: str) -> str:
    return MINE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.x]\nrepo = = 1", r"line 2"),
        (b"\xff", "utf-8"),
        ("model = 1", "unknown key 'model'"),
        ("models = 1", "models: must be a table"),
        ("models.mine = 1", "[models.mine]: must be a table"),
        ('default = "nobody"', "the default model is not in the registry: nobody"),
        ('[unsupported.x]\npatterns = []\nreason = "r"\nnearest = "n"', "[unsupported.x]: patterns must not be empty"),
        ('[unsupported.x]\npatterns = ["x"]', "[unsupported.x]: reason is missing"),
        ('unsupported.blip.nearest = "nobody"', "[unsupported.blip]: nearest is not in the registry: nobody"),
        (_changed('repoo = "a/b"'), "[models.qwen2-vl-2b]: unknown key 'repoo'"),
        (_changed('context = "long"'), "[models.qwen2-vl-2b]: context must be a whole number, not 'long'"),
        (_changed("context = true"), "context must be a whole number"),
        (_changed("context = -1"), "context must be positive"),
        (_changed("builtin = 1"), "builtin must be true or false"),
        (_changed('summary = " "'), "summary must be a text"),
        (_changed("aliases = 1"), "aliases must be a list of texts"),
        (_changed('aliases = ["No_Good"]'), "an alias is lower-case words"),
        (_changed('sampling.temperature = "hot"'), "[models.qwen2-vl-2b] sampling: temperature must be a number"),
        (_changed("sampling.temperature = -1"), "temperature must not be negative"),
        (_changed("sampling.temp = 1"), "sampling: unknown key 'temp'"),
        (_changed("sampling.top_p = 2"), "top_p must not be above 1"),
        (_changed("image.patch = 0"), "image: patch must be positive"),
        (_changed("image.min_tokens = 9999"), "min_tokens 9999 is above max_tokens 4096"),
        (_changed("image = 3"), "image: must be a table"),
        (_changed("files = 3"), "files: must be a list of tables"),
        (_changed("files = []"), "files must not be empty"),
        (_changed('handler = "Qwen VL"'), "handler must look like qwen_vl"),
        (_changed('unverified = ["colour"]'), "unverified names no field: colour"),
        (_changed('revision = "main"'), "revision must be a commit"),
        (_changed('default_quant = "Q1"'), "default_quant Q1 is not in files"),
        (_mine("models.mine", "models.Mine"), "an id is lower-case words"),
        (_mine('repo = "me/Mine-GGUF"', ""), "[models.mine]: repo is missing"),
        (_mine('repo = "me/Mine-GGUF"', 'repo = "Mine"'), "repo must look like user/name"),
        (_mine('quant = "F16", ', ""), "[models.mine] projectors: quant is missing"),
        (_mine('"F16"', '"?"'), "[models.mine] projectors ?: quant must look like"),
        (_mine('name = "Mine-Q4_K_M.gguf"', "size = 1"), "[models.mine] files Q4_K_M: name is missing"),
        (_mine('name = "Mine', 'parts = [], name = "Mine'), "either name, size and sha256, or a list of parts"),
        (_mine('name = "Mine-Q4_K_M.gguf"', "parts = []"), "parts must not be empty"),
        (_mine('name = "Mine', 'sha256 = "abc", name = "Mine'), "sha256 must be 64 hexadecimal digits: 'abc'"),
        (_mine('name = "Mine', 'size = 0, name = "Mine'), "size must be positive"),
        (_mine("Mine-Q4_K_M.gguf", "../Mine.gguf"), "not a plain file name"),
        (_mine("Mine-Q4_K_M.gguf", "Mine.bin"), "not a GGUF file name"),
    ],
)
def test_errors_name_the_file_and_the_entry(load, text, message):
    with pytest.raises(UsageError, match=rf"mine\.toml: .*{re.escape(message)}"):
        load(text)


def test_unknown_key_lists_the_keys(load):
    with pytest.raises(UsageError) as caught:
        load('[models.qwen2-vl-2b]\nrepoo = "a/b"')
    assert "repo, revision" in caught.value.hint
    assert "origin" not in caught.value.hint


# ---- the dataclasses on their own


def test_names_and_quants_may_not_come_twice():
    with pytest.raises(UsageError, match="twin names both one and two"):
        Registry([_spec("one", aliases=("twin",)), _spec("two", aliases=("twin",))], [], "one")
    with pytest.raises(UsageError, match="files name a quant twice: F16, F16"):
        _spec(files=_spec().files * 2)


def test_size_of_a_split_model_needs_every_part():
    parts = [FilePart(name="a-00001-of-00002.gguf", size=1), FilePart(name="a-00002-of-00002.gguf")]
    assert ModelFile(quant="F16", parts=(parts[0], parts[0])).size == 2
    assert ModelFile(quant="F16", parts=tuple(parts)).size is None


def test_unset_sampling_is_not_given():
    assert SamplingDefaults(temperature=0.0).given() == {"temperature": 0.0}
    assert {item.name for item in fields(SamplingDefaults)} <= {item.name for item in fields(SamplingParams)}


@pytest.mark.parametrize(
    ("kind", "table"),
    [(ModelSpec, None), (ImageFacts, "image"), (SamplingDefaults, "sampling")],
    ids=["model", "image", "sampling"],
)
def test_every_value_of_an_entry_is_refused_by_name_if_it_is_of_another_type(kind: Any, table: str | None) -> None:
    for key in {item.name for item in fields(kind)} - {"id", "origin", "files", "projectors", "sampling", "image"}:
        entry = {key: {"a": "table"}}
        with pytest.raises(UsageError, match=rf"\b{key} must be "):
            read_model("m", {table: entry} if table else entry, "[models.m]", origin="user")
