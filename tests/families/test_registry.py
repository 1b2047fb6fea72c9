"""One family, one file: what a new one costs, and that no projector of llama.cpp is without its family or a reason."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.errors import ModelError, UsageError
from ggufvlm.families import Message, lfm2, registry
from ggufvlm.families.convention import PLAIN_JSON
from ggufvlm.families.facts import make_handler
from ggufvlm.families.family import Family
from ggufvlm.families.registry import ANY_FAMILY, CONVENTIONS, FAMILIES, GENERIC, choose_family, find_family
from ggufvlm.gguf.header import read_header
from ggufvlm.grounding.families import convention_of
from ggufvlm.media import Image
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.pairing import VISION_PROJECTORS, check_pair
from ggufvlm.models.registry import load_registry
from ggufvlm.tasks.ocr.page import page_budget
from tests.parity.cases import DATA

# Types that llama.cpp knows and of which nothing is known here but that it resizes and counts by itself.
WITHOUT_A_FAMILY = {
    *("phi4", "dots3note_v", "mimovl", "kimik25", "yasa2", "deepseek4v", "muse-glimmer", "qwen2.5o", "exaone4_5"),
    *("youtuvl", "ling3vl", "janus_pro", "step3vl", "llama4", "nemotron_v2_vl", "gemma3nv", "glm5v", "cogvlm"),
    *("minimax_m3", "adapter", "granite4_vision"),
}


def test_every_projector_has_a_family_or_is_exempt_by_name() -> None:
    known = {projector for family in FAMILIES for projector in family.projectors}
    assert known <= VISION_PROJECTORS, "a family names a projector that llama.cpp does not know"
    assert known.isdisjoint(WITHOUT_A_FAMILY)
    assert known | WITHOUT_A_FAMILY == VISION_PROJECTORS


def test_families_with_one_projector_are_told_apart() -> None:
    for projector in {projector for family in FAMILIES for projector in family.projectors}:
        ordinary = [f.name for f in FAMILIES if projector in f.projectors and not f.names and not f.architectures]
        assert len(ordinary) == 1, f"{projector}: {ordinary}"


@pytest.mark.parametrize("spec", list(load_registry()), ids=lambda spec: spec.id)
def test_entries_of_the_registry_name_families_that_exist(spec: object) -> None:
    family = choose_family(spec.projector_type, architecture=spec.architecture, word=spec.handler, names=(spec.id,))
    assert family is not GENERIC, f"{spec.id}: nothing is known of {spec.projector_type}"
    assert spec.handler in (family.word, ANY_FAMILY)
    assert spec.grounding is None or spec.grounding in CONVENTIONS


def test_the_entry_s_handler_wins_where_it_can_be_meant() -> None:
    assert choose_family("mlp", architecture="phi2").name == "moondream"
    assert choose_family("mlp", architecture="phi2", word="llava").name == "LLaVA"
    assert choose_family("idefics3", word="granite").name == "DocTags"
    assert choose_family("a_new_merger", word="qwen_vl").name == "Qwen2-VL"


def test_an_entry_that_contradicts_the_projector_is_refused() -> None:
    with pytest.raises(ModelError, match="handler = 'gemma', and qwen2vl_merger is a projector of Qwen2-VL") as caught:
        choose_family("qwen2vl_merger", word="gemma")
    assert caught.value.hint == "handler = 'qwen_vl' in the entry"


def test_a_handler_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="handler 'qwen' is no family") as caught:
        choose_family("qwen2vl_merger", word="qwen")
    assert "qwen_vl" in (caught.value.hint or "")


@pytest.fixture
def exercise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A new family as somebody would add it: a copy of a file under another name, and its place in the list."""
    source = Path(lfm2.__file__).read_text(encoding="utf-8")
    source = source.replace('name="LFM2-VL"', 'name="Exercise-VL"').replace('word="lfm2"', 'word="exercise"')
    source = re.sub(r'(projectors=\("lfm2",\),)', r'\1 names=("exercise",), convention=PLAIN_JSON,', source)
    imports = "from ggufvlm.families.base"
    source = source.replace(imports, f"from ggufvlm.families.convention import PLAIN_JSON\n{imports}")
    file = tmp_path / "exercise_vl.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("exercise_vl", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "exercise_vl", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(registry, "FAMILIES", (*FAMILIES, *module.FAMILIES))
    return module


ENTRY = """
[models.exercise-vl]
repo = "me/Exercise-VL-GGUF"
handler = "exercise"
projector_type = "lfm2"
files = [{ quant = "Q8_0", name = "Exercise-VL-Q8_0.gguf" }]
projectors = [{ quant = "F16", name = "mmproj-Exercise-VL-F16.gguf" }]
"""


def test_a_new_family_is_one_file_one_entry_and_one_parity_case(exercise: ModuleType, tmp_path: Path) -> None:
    (family,) = exercise.FAMILIES
    assert isinstance(family, Family)
    place = DATA / "lfm2_vl"
    mmproj, model = sorted(place.glob("*.gguf"))
    stranger = ModelFiles(name="exercise-vl-1b", model=model, mmproj=mmproj)
    assert find_family(stranger) is family
    assert choose_family("lfm2", word="exercise") is family
    assert choose_family("lfm2", names=("lfm2-vl-450m",)).name == "LFM2-VL"
    user_file = tmp_path / "models.toml"
    user_file.write_text(ENTRY, encoding="utf-8")
    spec = load_registry(user_file).find("exercise-vl")
    assert choose_family(spec.projector_type, word=spec.handler) is family

    # grounding and reading follow without another word
    assert convention_of(stranger) is PLAIN_JSON
    assert page_budget(stranger) is None

    # the parity case: what the dry run tells is what the loaded model does, and the answer is the copied family's
    handler = make_handler(stranger, check_pair(model, mmproj), EngineConfig())
    assert isinstance(handler, exercise.Lfm2VLHandler)
    image = Image.from_rgb(500, 300, bytes(3 * 500 * 300), "black")
    with VLM(stranger, EngineConfig(use_cache=False)) as vlm:
        assert type(vlm.handler) is exercise.Lfm2VLHandler
        seen = vlm.measure([Message("user", (image, "Hi"))]).n_images
    assert (handler.n_tokens(500, 300),) == seen
    assert read_header(mmproj).text("clip.projector_type") == "lfm2"


def test_a_stranger_known_by_its_name_alone_is_asked_in_its_family_s_way() -> None:
    mmproj, model = sorted((DATA / "smolvlm").glob("*.gguf"))
    docling = ModelFiles(name="granite-docling-258M-Q8_0", model=model, mmproj=mmproj)
    assert find_family(docling).name == "DocTags"
    assert convention_of(docling).name == "doctags"
    with pytest.raises(UsageError, match=r"SmolVLM-500M \(SmolVLM\) cannot say where things are"):
        convention_of(ModelFiles(name="SmolVLM-500M", model=model, mmproj=mmproj))
