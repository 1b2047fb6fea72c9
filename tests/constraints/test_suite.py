"""The public JSON Schema Test Suite: what is enforced, what is refused, and what the built-in model answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, EngineError, UsageError
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.constraints.grammar import fits
from tests.support.scenes import Scene

SUITE = Path(__file__).parents[1] / "data" / "json_schema_suite"

# how many groups of each file are enforced; the rest is refused
ENFORCED = {
    **{"additionalProperties": 7, "allOf": 10, "anchor": 4, "anyOf": 7, "const": 15, "enum": 14, "items": 10},
    **{"exclusiveMaximum": 1, "exclusiveMinimum": 1, "maximum": 2, "minimum": 2, "multipleOf": 4},
    **{"maxItems": 1, "minItems": 1, "maxLength": 1, "minLength": 1, "maxProperties": 2, "minProperties": 1},
    **{"infinite-loop-detection": 1, "oneOf": 2, "pattern": 2, "patternProperties": 2, "prefixItems": 4},
    **{"properties": 6, "propertyNames": 1, "ref": 29, "required": 5, "type": 11},
    **dict.fromkeys(("format/date", "format/time", "format/date-time", "format/duration", "format/email"), 1),
    **dict.fromkeys(("format/hostname", "format/ipv4", "format/ipv6", "format/uuid", "format/uri"), 1),
}
REFUSED = ("contains", "dependentRequired", "if-then-else", "not", "propertyNames")

# right by the schema, and never written: keys in another order, 1.0 for 1, rare forms of addresses
NEVER_WRITTEN = {
    "allOf: allOf: allOf",
    "allOf: allOf with base schema: valid",
    "const: const with object: same object with different property order is valid",
    "const: const with 0 does not match other zero-like types: float zero is valid",
    "const: const with 1 does not match true: float one is valid",
    "const: const with -2.0 matches integer and float types: float -2.0 is valid",
    "const: float and integers are equal up to 64-bit representation limits: float is valid",
    "enum: enum with 0 does not match false: float zero is valid",
    "enum: enum with [0] does not match [false]: [0.0] is valid",
    "enum: enum with 1 does not match true: float one is valid",
    "enum: enum with [1] does not match [true]: [1.0] is valid",
    "type: integer type matches integers: a float with zero fractional part is an integer",
    "format/email: validation of e-mail addresses: a quoted string with a space in the local part is valid",
    "format/email: validation of e-mail addresses: a quoted string with a double dot in the local part is valid",
    "format/email: validation of e-mail addresses: a quoted string with a @ in the local part is valid",
    "format/email: validation of e-mail addresses: an IPv6-address-literal after the @ is valid",
    "format/ipv6: validation of IPv6 addresses: mixed format with the ipv4 section as decimal octets",
    "format/ipv6: validation of IPv6 addresses: mixed format with double colons between the sections",
    "format/ipv6: validation of IPv6 addresses: mixed format with leading double colons (ipv4-mapped ipv6 address)",
    "format/ipv6: validation of IPv6 addresses: a long valid ipv6",
}


@dataclass(frozen=True)
class Group:
    file: str
    description: str
    schema: Any
    tests: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.file}: {self.description}"


@cache
def groups() -> list[Group]:
    files = sorted(SUITE.rglob("*.json"))
    return [
        Group(str(file.relative_to(SUITE).with_suffix("")), group["description"], group["schema"], group["tests"])
        for file in files
        for group in json.loads(file.read_text(encoding="utf-8"))
    ]


@cache
def enforced() -> list[tuple[Group, Constraint]]:
    found = []
    for group in groups():
        try:
            found.append((group, Constraint.from_schema(group.schema)))
        except UsageError:
            continue
    return found


def accepts(constraint: Constraint, text: str) -> bool:
    """Whether the grammar lets it be written, and the check lets it pass."""
    if not fits(constraint.kind, constraint.text, text):
        return False
    try:
        constraint.check(text)
    except EngineError:
        return False
    return True


def test_what_is_enforced() -> None:
    assert Counter(group.file for group, _ in enforced()) == ENFORCED
    assert {group.file for group in groups()} == {*ENFORCED, *REFUSED}
    (propertyless,) = [group for group, _ in enforced() if group.file == "propertyNames"]
    assert propertyless.schema["propertyNames"] is True


def test_no_wrong_instance_passes_and_every_right_one_can_be_written() -> None:
    wrong, count = [], 0
    for group, constraint in enforced():
        for test in group.tests:
            text = json.dumps(test["data"], separators=(",", ":"), ensure_ascii=False)
            name = f"{group}: {test['description']}"
            count += 1
            if accepts(constraint, text) != (test["valid"] and name not in NEVER_WRITTEN):
                wrong.append(f"{name}: {text}")
    assert wrong == []
    assert count > 700


@pytest.mark.parametrize("file", REFUSED)
def test_a_refusal_names_the_keyword_and_its_place(file: str) -> None:
    for group in groups():
        if group.file == file and group.schema.get("propertyNames") is not True:  # that one forbids nothing
            with pytest.raises(UsageError, match=r"Unimplemented keys: .*(#|\])") as refused:
                Constraint.from_schema(group.schema)
            named = json.loads(str(refused.value).split("keys: ")[1].split(" (at")[0])
            assert any(f'"{word}"' in json.dumps(group.schema) for word in named)
            assert "leave it out" in (refused.value.hint or "")


@pytest.mark.slow
def test_the_built_in_model_answers_every_schema(demo: VLM, scene: Scene, tmp_path: Path) -> None:
    image = tmp_path / "scene.png"
    scene.draw(196, 140).save(image)
    finished: Counter[str] = Counter()
    for group, constraint in enforced()[::2]:
        for temperature, question in ((0.0, "Answer."), (1.0, "Describe this image.")):
            answer = demo.describe(
                image,
                question,
                constraint=constraint,
                temperature=temperature,
                seed=1,
                max_tokens=250,
            )
            if answer.finish_reason == "stop":
                value = constraint.check(answer.text)  # raises if it does not fit
                assert constraint.check(constraint.tidy(answer.text)) == value
                finished[str(group)] += 1
            else:  # it writes on inside a text, a list or nested objects
                with pytest.raises(EngineError, match="before it fitted"):
                    constraint.check(answer.text, answer.finish_reason)
    assert sum(count == 2 for count in finished.values()) >= 50
