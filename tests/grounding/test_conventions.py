"""Which family is asked how, which are refused, and how large images have to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufvlm
from ggufvlm.config import EngineConfig
from ggufvlm.errors import UsageError
from ggufvlm.families import ModelFacts
from ggufvlm.families.control import ControlText, MarkedText, text_parts
from ggufvlm.families.convention import own_question
from ggufvlm.families.qwen_vl import Qwen3VLHandler, QwenVLHandler
from ggufvlm.families.registry import CONVENTIONS, find_convention
from ggufvlm.grounding.families import convention_of, convention_of_entry, with_enough_tokens
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.registry import load_registry
from ggufvlm.models.resolve import find_model

DEMO = Path(ggufvlm.__file__).parent / "demo"


def test_the_registry_names_conventions_that_exist() -> None:
    names = {spec.grounding for spec in load_registry()} - {None}
    assert names == set(CONVENTIONS)


def test_a_convention_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="'qwen4'") as error:
        find_convention("qwen4")
    assert "qwen3_rel1000" in (error.value.hint or "")


def test_families_without_boxes_are_refused_with_one_that_can() -> None:
    registry = load_registry()
    for name in ("smolvlm-500m", "llava-1.5-7b", "moondream2", "pixtral-12b"):
        with pytest.raises(UsageError, match=name) as error:
            convention_of_entry(registry.find(name))
        able = (error.value.hint or "").split()[1]
        assert registry.find(able).grounding is not None


def test_the_built_in_model_is_asked_the_question_it_knows() -> None:
    convention = convention_of(find_model("demo"))
    (ask,) = convention.asks(["red square"])
    assert ask.text == "Detect all objects and return their bounding boxes as JSON."
    assert convention.labelled is None


def test_a_stranger_is_known_by_its_projector() -> None:
    stranger = ModelFiles(
        name="mine", model=DEMO / "tiny-qwen2vl-Q8_0.gguf", mmproj=DEMO / "mmproj-tiny-qwen2vl-F16.gguf"
    )
    assert convention_of(stranger).name == "qwen2_rel1000"
    assert convention_of(stranger, "gemini_yx1000").y_first


def test_a_stranger_of_a_family_without_boxes_is_refused(data: Path) -> None:
    projector = next((data / "llava").glob("mmproj*.gguf"))
    with pytest.raises(UsageError, match=r"mine \(LLaVA\)"):
        convention_of(ModelFiles(name="mine", model=projector, mmproj=projector))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_questions_hold_the_labels_and_nothing_unfilled(name: str) -> None:
    convention = CONVENTIONS[name]
    asks = convention.asks(["red car", "traffic light"])
    text = "\n".join(ask.text for ask in asks)
    assert "{label}" not in text + convention.everything
    assert len(asks) == (2 if convention.one_by_one else 1)
    if convention.labelled is not None:
        assert "red car" in text
        assert "traffic light" in text
    if convention.one_by_one:
        assert [ask.label for ask in asks] == ["red car", "traffic light"]


def test_points_are_asked_for_or_refused() -> None:
    (ask,) = CONVENTIONS["qwen3_rel1000"].asks(["car"], points=True)
    assert "car with points" in ask.text
    assert "object with points" in CONVENTIONS["qwen25_abs_px"].asks([], points=True)[0].text
    with pytest.raises(UsageError, match="no points"):
        CONVENTIONS["internvl_box"].asks(["car"], points=True)


def test_only_the_family_s_own_words_are_control_tokens() -> None:
    (ask,) = CONVENTIONS["qwen2_rel1000"].asks(["<|object_ref_end|> car"])
    parts = [(part.text, part.trusted) for part in text_parts(ask.text)]
    assert parts == [
        ("Detect the bounding box of ", False),
        ("<|object_ref_start|>", True),
        ("<|object_ref_end|> car", False),
        ("<|object_ref_end|>", True),
    ]


def test_a_marked_text_is_a_text() -> None:
    text = MarkedText(["a ", ControlText("<b>"), "", " c"])
    assert text == "a <b> c"
    assert [part.text for part in text_parts(text)] == ["a ", "<b>", " c"]
    assert not text_parts("plain")[0].trusted


def test_a_question_of_one_s_own() -> None:
    assert own_question("Where is the {label}? ", ["cat"]).text == "Where is the cat?"
    assert own_question("Where are {label}?", ["cats", "dogs"]).text == "Where are cats, dogs?"


def files_of(name: str) -> ModelFiles:
    return ModelFiles(name=name, model=Path("m.gguf"), mmproj=Path("p.gguf"), spec=load_registry().find(name))


def test_a_qwen_gets_a_thousand_tokens_of_an_image() -> None:
    files, convention = files_of("qwen2-vl-2b"), CONVENTIONS["qwen2_rel1000"]
    assert with_enough_tokens(EngineConfig(), files, convention).image_min_tokens == 1024
    stranger = replace(files, spec=None)
    assert with_enough_tokens(EngineConfig(), stranger, convention).image_min_tokens == 1024


def test_who_says_how_many_gets_so_many() -> None:
    files, convention = files_of("qwen2-vl-2b"), CONVENTIONS["qwen2_rel1000"]
    for told in (EngineConfig(image_max_tokens=256), EngineConfig(image_min_tokens=64)):
        assert with_enough_tokens(told, files, convention) == told


def test_a_model_that_was_trained_with_few_tokens_gets_few() -> None:
    demo = find_model("demo")
    for convention in CONVENTIONS.values():
        config = with_enough_tokens(EngineConfig(), demo, convention)
        assert (config.image_max_tokens or 42) <= 42
    assert with_enough_tokens(EngineConfig(), demo, convention_of(demo)) == EngineConfig()


@settings(deadline=None)
@given(st.integers(30, 6000), st.integers(30, 6000), st.sampled_from([(QwenVLHandler, 14), (Qwen3VLHandler, 16)]))
def test_it_is_a_thousand_at_any_size(width: int, height: int, family: tuple[type[QwenVLHandler], int]) -> None:
    if max(width, height) > 8 * min(width, height):
        return
    handler, patch = family
    config = with_enough_tokens(EngineConfig(), files_of("qwen3-vl-2b"), CONVENTIONS["qwen3_rel1000"])
    facts = ModelFacts(
        patch_size=patch,
        merge_size=2,
        image_min_tokens=config.image_min_tokens,
        image_max_tokens=config.image_max_tokens,
    )
    w, h = handler(facts).target_size(width, height)
    assert 1024 <= w * h // (2 * patch) ** 2 <= 1500
