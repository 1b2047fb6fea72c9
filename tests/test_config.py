from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ggufvlm import Constraint, EngineConfig, SamplingParams, UsageError
from ggufvlm.config import SamplingSettings, settings_in
from ggufvlm.models.schema import SamplingDefaults


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": -0.1},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repeat_penalty": 0.0},
        {"max_tokens": 0},
        {"max_tokens": -2},
        {"seed": -1},
        {"seed": 2**32 - 1},
        {"stop": ("",)},
        {"stop": (b"x",)},
        {"stop": (1,)},
        {"penalty_last_n": -2},
    ],
)
def test_sampling_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SamplingParams(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_ctx": 0},
        {"n_batch": 10, "n_ubatch": 20},
        {"n_threads": 0},
        {"n_threads": 513},
        {"n_threads": 100_000},
        {"n_gpu_layers": -2},
        {"image_max_tokens": 0},
        {"image_min_tokens": 20, "image_max_tokens": 10},
        {"flash_attention": "off", "cache_type_v": "q8_0"},
    ],
)
def test_engine_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        EngineConfig(**settings)


def test_a_stop_string_that_cuts_every_json_answer_is_refused() -> None:
    schema = Constraint.from_schema({"type": "string"})
    for stop in ('"', "}", ['"', "END"]):
        with pytest.raises(UsageError, match="would end JSON in the middle"):
            SamplingParams(constraint=schema, stop=stop)  # type: ignore[arg-type]
    assert SamplingParams(constraint=schema, stop=("END", "\n\n")).stop
    assert SamplingParams(constraint=Constraint.regex("a+"), stop=('"',)).stop


def test_defaults_are_valid_and_greedy() -> None:
    assert SamplingParams().temperature == 0
    assert not SamplingParams().has_penalties
    assert SamplingParams(presence_penalty=0.5).has_penalties
    assert EngineConfig().n_ctx is None


def test_settings_by_name_are_the_fields() -> None:
    assert set(SamplingSettings.__annotations__) == set(SamplingParams.__dataclass_fields__)


def test_the_settings_by_name_are_the_fields_of_the_parameters() -> None:
    assert list(SamplingSettings.__annotations__) == [item.name for item in fields(SamplingParams)]


def test_settings_of_an_object_are_its_attributes_that_are_set() -> None:
    recommended = SamplingDefaults(temperature=0.0, top_k=5)
    assert settings_in(recommended) == recommended.given() == {"temperature": 0.0, "top_k": 5}
    assert {item.name for item in fields(SamplingDefaults)} <= {item.name for item in fields(SamplingParams)}
