"""Grammars and schemas from anybody: no size or shape of them ends the process, or takes long to refuse."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from typing import Any

import pytest

from ggufvlm.constraints.constraint import Constraint
from ggufvlm.errors import EngineError, UsageError

KINDS = ("gbnf", "lark", "terminals", "schema", "lark with a schema")


def chain(kind: str, n: int, *, back: bool) -> str:
    """Rules that lead to each other in a row, if wished also back to the first."""
    if kind == "gbnf":
        again = ' | "c" r0' if back else ""
        return "root ::= r0\n" + "".join(f'r{i} ::= "a" r{i + 1}{again}\n' for i in range(n)) + f'r{n} ::= "b"\n'
    if kind == "lark":
        again = ' | "c" r0' if back else ""
        return "start: r0\n" + "".join(f'r{i}: "a" r{i + 1}{again}\n' for i in range(n)) + f'r{n}: "b"\n'
    if kind == "terminals":
        return "start: R0\n" + "".join(f'R{i}: "a" R{i + 1}\n' for i in range(n)) + f'R{n}: "b"\n'
    again = {"b": {"$ref": "#/$defs/r0"}} if back else {}
    rules: dict[str, Any] = {
        f"r{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/r{i + 1}"}, **again}} for i in range(n)
    }
    schema = json.dumps({"$ref": "#/$defs/r0", "$defs": {**rules, f"r{n}": {"type": "string"}}})
    return schema if kind == "schema" else f"start: %json {schema}\n"


def make(kind: str, text: str) -> Constraint:
    if kind == "schema":
        return Constraint.from_schema(text)
    return Constraint.gbnf(text) if kind == "gbnf" else Constraint.lark(text)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rules_in_a_row(kind: str, back: bool) -> None:
    """Thousands overflow the native stack, which is a segmentation fault."""
    assert make(kind, chain(kind, 40, back=back)).grammar()
    for n in (300, 3_000):
        with pytest.raises(UsageError, match="nested too deeply"):
            make(kind, chain(kind, n, back=back))


def test_many_rules_side_by_side_are_taken() -> None:
    rules = "".join(f'r{i} ::= "a{i}" | "b"\n' for i in range(2_000))
    assert Constraint.gbnf(f"root ::= {' | '.join(f'r{i}' for i in range(2_000))}\n{rules}").grammar()


def test_any_graph_of_rules_is_taken_or_refused() -> None:
    """In a process of its own: what is tried would end this one. Order and direction of the names are random."""
    code = """
import random, sys
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.errors import UsageError
taken = 0
for seed in range(int(sys.argv[1])):
    choose = random.Random(seed)
    n = choose.choice([20, 300, 3000])
    names = [f"r{i}" for i in range(n)]
    order = choose.sample(names, n)
    rules = []
    for place, name in enumerate(order):
        near = order[place + 1 : place + 2 + choose.randrange(3)]
        others = choose.sample(names, min(n, choose.randrange(3))) if choose.random() < 0.2 else []
        parts = [*near, *others, '"x"']
        choose.shuffle(parts)
        rules.append(f"{name}: {choose.choice([' ', ' | ']).join(parts)}")
    head = f"start: {order[0]}"
    choose.shuffle(rules)
    try:
        Constraint.lark(chr(10).join([head, *rules]))
        taken += 1
    except UsageError as error:
        assert "deeply" in str(error) or "no answer" in str(error), error
print("ended", taken)
"""
    done = subprocess.run([sys.executable, "-c", code, "60"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ended")
    assert int(done.stdout.split()[1]) >= 5


ODD = [5, None, [], {}, "x", [5], True, {"a": 1}, "\0", 1e300]
WORDS = ["$schema", "$id", "$ref", "$anchor", "$defs", "properties", "patternProperties", "required", "enum", "type"]
WORDS += ["pattern", "anyOf", "allOf", "oneOf", "minimum", "maxLength", "items", "format", "const", "if", "not"]


def test_any_value_of_any_keyword_is_taken_or_refused() -> None:
    choose = random.Random(3)
    for word in WORDS:
        for value in ODD:
            schema = {word: value} if choose.random() < 0.5 else {"properties": {"a": {word: value}}}
            with contextlib.suppress(UsageError):
                Constraint.from_schema(schema)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "string", "pattern": "^(a+)+c$"}, "a" * 40 + "b"),
        ({"type": "object", "patternProperties": {"^(a+)+c$": {"type": "integer"}}}, {"a" * 40 + "b": 1}),
        (
            {"type": "object", "patternProperties": {"^(a|a)*c$": {}}, "additionalProperties": False},
            {"a" * 40 + "b": 1},
        ),
    ],
)
def test_patterns_are_checked_in_time_that_grows_with_the_text(schema: Any, answer: Any) -> None:
    """Python's engine would try 2**40 ways; this test would not end."""
    constraint = Constraint.from_schema(schema)
    if "additionalProperties" in schema or schema["type"] == "string":
        with pytest.raises(EngineError, match="breaks the schema"):
            constraint.check(json.dumps(answer))
    else:
        assert constraint.check(json.dumps(answer)) == answer


def test_properties_are_held_to_the_patterns_that_fit_their_names() -> None:
    schema = {
        "type": "object",
        "properties": {"id": {"type": "string"}},
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
    }
    constraint = Constraint.from_schema(schema)
    assert constraint.check('{"id": "a", "n_x": 1, "other": true}')
    for wrong in ('{"id": 1}', '{"n_x": "a"}', '{"other": 1}'):
        with pytest.raises(EngineError, match="breaks the schema"):
            constraint.check(wrong)


def test_a_limit_of_tokens_in_a_grammar_is_counted_in_tokens() -> None:
    """The check once counted bytes, and threw valid answers away."""
    constraint = Constraint.lark('start: "I see " words\nwords[max_tokens=2]: /[a-z ]+/\n')
    assert constraint.check("I see extraordinarily extraordinary") == "I see extraordinarily extraordinary"
