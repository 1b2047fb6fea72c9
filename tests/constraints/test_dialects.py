"""Schemas as Home Assistant, Google's and OpenAPI's tools write them: notes stay notes, and nullable is kept to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ggufvlm import EngineError
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.constraints.grammar import fits

HOME_ASSISTANT = {
    "type": "object",
    "properties": {
        "entity": {"type": "string", "format": "entity_id", "description": "Which lamp."},
        "color": {"type": "string", "format": "RRGGBB", "nullable": True},
        "areas": {"type": "array", "items": {"type": "string", "enum": ["hall", "attic"]}, "uniqueItems": True},
        "states": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "boolean"}},
    },
    "propertyOrdering": ["entity", "color", "areas", "states"],
    "required": ["entity", "color", "areas", "states"],
    "additionalProperties": False,
}


def accepts(constraint: Constraint, value: Any) -> bool:
    """Whether the grammar lets a value be written, and the check lets it pass."""
    text = json.dumps(value, separators=(",", ":"))
    if not fits(constraint.kind, constraint.text, text):
        return False
    try:
        constraint.check(text)
    except EngineError:
        return False
    return True


def test_a_schema_of_home_assistant_is_kept_to() -> None:
    constraint = Constraint.from_schema(HOME_ASSISTANT)
    good = {"entity": "light.hall", "color": None, "areas": ["hall", "attic"], "states": {"on": True}}
    assert accepts(constraint, good)
    assert accepts(constraint, {**good, "color": "FF0000", "areas": []})
    for wrong in ({"entity": None}, {"color": 3}, {"areas": ["cellar"]}, {"states": {"on": "yes"}}):
        assert not accepts(constraint, {**good, **wrong})


def test_what_no_grammar_can_hold_is_found_in_the_finished_answer() -> None:
    constraint = Constraint.from_schema({"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True})
    assert constraint.is_left_to_check
    assert constraint.check('["a","b"]') == ["a", "b"]
    with pytest.raises(EngineError, match=r"breaks the schema at #: .* has non-unique elements"):
        constraint.check('["a","a"]')
    assert not Constraint.from_schema({"type": "array", "uniqueItems": False}).is_left_to_check
    assert not Constraint.choices(["a"]).is_left_to_check
    assert Constraint.from_schema({"properties": {"day": {"type": "string", "format": "date"}}}).is_left_to_check


_NOTES = st.dictionaries(
    st.sampled_from(
        [
            "title",
            "readOnly",
            "examples",
            "default",
            "propertyOrdering",
            "example",
            "unit",
            "order",
            "x-order",
            "enumNames",
        ]
    ),
    st.none() | st.integers() | st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=2),
    max_size=3,
)
_FORMATS = st.sampled_from(["entity_id", "int32", "double", "password", "iri", "regex", "json-pointer", "", "RGB"])
_PLAIN = st.sampled_from(
    [
        {"type": "string", "maxLength": 3},
        {"type": "string", "enum": ["a", "b"]},
        {"enum": [1, "a"]},
        {"type": ["integer", "boolean"]},
        {"type": "integer", "minimum": 0, "maximum": 9},
        {"const": "a"},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "#/$defs/word"},
        {"allOf": [{"type": "string"}], "maxLength": 2},
        {"type": "array", "items": {"$ref": "#/$defs/word"}},
        {"type": "object", "properties": {"nullable": {"type": "boolean"}}, "required": ["nullable"]},
    ]
)
_VALUES: list[Any] = [
    None,
    "",
    "a",
    "b",
    "abc",
    "abcd",
    1,
    5,
    10,
    True,
    [],
    ["a"],
    ["c"],
    [None],
    {},
    {"nullable": True},
]


@settings(max_examples=40, deadline=None)
@given(_PLAIN, _NOTES, _FORMATS, st.booleans(), st.booleans())
def test_notes_change_nothing_and_nullable_adds_null(
    plain: dict[str, Any], notes: dict[str, Any], form: str, nullable: bool, at_root: bool
) -> None:
    definitions = {"$defs": {"word": {"enum": ["a", "b"]}}}
    written = {**plain, **notes, "format": form, "nullable": nullable}
    schema = {**written, **definitions} if at_root else {"type": "array", "items": written, **definitions}
    constraint = Constraint.from_schema(schema)
    judge = Draft202012Validator({**plain, **definitions})
    for value in _VALUES:
        wanted = judge.is_valid(value) or (nullable and value is None)
        assert accepts(constraint, value if at_root else [value]) == wanted, value
