"""What an answer has to look like: what is taken, what is refused and how it is said, what a check finds."""

from __future__ import annotations

import json
import pickle
import string
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm import VLM, EngineError, InputError, UsageError
from ggufvlm.constraints.constraint import Constraint
from ggufvlm.constraints.given import choices_given, grammar_given, schema_given
from ggufvlm.constraints.grammar import fits
from tests.support.scenes import COLORS, Block, Scene


def schema(text: str) -> Any:
    return json.loads(Constraint.from_schema(text).text)


def writable(constraint: Constraint, text: str) -> bool:
    return fits(constraint.kind, constraint.text, text)


# -- schemas


def test_the_shorthand_of_llm() -> None:
    assert schema("name, age int, weight float, is_good bool, tags: a list, of") == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "weight": {"type": "number"},
            "is_good": {"type": "boolean"},
            "tags": {"type": "string", "description": "a list"},
            "of": {"type": "string"},
        },
        "required": ["name", "age", "weight", "is_good", "tags", "of"],
        "additionalProperties": False,
    }


def test_commas_in_descriptions_need_lines() -> None:
    assert schema("\n  name: first, then last\n\n age int \n")["properties"] == {
        "name": {"type": "string", "description": "first, then last"},
        "age": {"type": "integer"},
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (" , ,", "is empty"),
        ("age number", "unknown type 'number' of 'age'"),
        ("a, b, a int", "two fields are called 'a'"),
        (": words", "without a name"),
        ("name of person", "cannot read 'name of person'"),
        ('{"type": "object"', "not JSON"),
        ('{"type": "int"}', "Invalid type: int"),
        ('{"type": "string", "minLenght": 3}', "'minLenght' at # is no keyword"),
        ('{"type": "string", "max_length": 3}', "'max_length' at # is no keyword"),
        ('{"properties": {"a": {"type": "integer", "min": 3}}}', "'min' at #/properties/a is no keyword"),
        ('{"items": [1, 2], "choices": ["a"]}', "'choices' at # is no keyword"),
        ('{"age": {"type": "integer"}}', "'age' at # is no keyword"),
        ('{"properties": {"a/b": {"nullable": "yes"}}}', "nullable at #/properties/a~1b is true or false"),
        ('{"name": "x", "schema": {}}', "'schema' at # is no keyword"),
        ('{"x-guidance": {"lenient": true}}', "x-guidance"),
        ('{"items": {"contains": {}}}', 'Unimplemented keys: ["contains"] (at #/items)'),
        ('{"items": {"uniqueItems": 3}}', 'Unimplemented keys: ["uniqueItems"] (at #/items)'),
        ('{"propertyNames": {"pattern": "^a"}}', 'Unimplemented keys: ["propertyNames"] (at #)'),
        ('{"pattern": "a(?=b)"}', "look-around"),
        ('{"oneOf": [{}, {"type": "string"}]}', "oneOf constraints are not supported"),
        ('{"$ref": "https://example.org/x.json"}', "not present in a registry"),
        ('{"$ref": "#/$defs/x"}', "does not exist"),
        ('{"$ref": "#"}', "no answer can fit"),
        ('{"type": "integer", "minimum": 5, "maximum": 3}', "Unsatisfiable"),
        ('{"type": "array", "items": [{}]}', "wrong at #/items"),
        ('{"required": "a"}', "required"),
        ('{"const": "\\ud800"}', "hex escape"),
        ('{"items":' * 200 + "{}" + "}" * 200, "nested too deeply"),
        ('{"items":' * 9000 + "{}" + "}" * 9000, "nested too deeply"),
    ],
)
def test_what_nobody_would_enforce_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Constraint.from_schema(text)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_hints_name_a_way_out() -> None:
    hints = {}
    for text in ('{"minLenght": 1}', '{"choices": ["a"]}', '{"oneOf": [{}, {}]}', '{"contains": {}}', "a number"):
        with pytest.raises(UsageError) as refused:
            Constraint.from_schema(text)
        hints[text] = refused.value.hint or ""
    wanted = ("minLength?", "enum?", "anyOf", "leave it out", "str, int, float, bool")
    assert all(word in hint for word, hint in zip(wanted, hints.values(), strict=True))


@pytest.mark.parametrize("value", [3, None, ["a"], {"a": {1, 2}}, {"const": float("nan")}, {"const": "\ud800"}])
def test_what_is_no_schema(value: Any) -> None:
    with pytest.raises(UsageError):
        Constraint.from_schema(value)


def test_earlier_drafts_are_read_by_their_own_rules() -> None:
    pair = Constraint.from_schema(
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}], "type": "array"}
    )
    assert writable(pair, '[1,"x"]')
    assert not writable(pair, '["x"]')
    above = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    assert writable(Constraint.from_schema({"type": "integer", **above}), "4")
    assert not writable(Constraint.from_schema({"type": "integer", **above}), "3")


def test_keys_outside_ascii_come_in_the_order_of_the_schema() -> None:
    constraint = Constraint.from_schema(
        {"type": "object", "properties": {"größe": {"type": "integer"}, "名": {"type": "string"}}, "required": ["名"]}
    )
    assert constraint.check('{"größe":1,"名":"é😀"}') == {"größe": 1, "名": "é😀"}
    assert writable(constraint, '{"größe":1,"名":"é😀"}')
    assert not writable(constraint, '{"名":"é","größe":1}')


def test_one_blank_between_tokens_is_left_to_the_model() -> None:
    constraint = Constraint.from_schema("a int, b int")
    loose = ('{"a": 1, "b": 2}', '{"a":1,"b":2}', '{ "a":1 ,"b":2 }')
    assert all(writable(constraint, text) for text in loose)
    assert {constraint.tidy(text) for text in loose} == {'{"a":1,"b":2}'}
    endless = (' {"a":1,"b":2}', '{"a":  1,"b":2}', '{"a":1,"b":2}\n', '{\n"a":1,"b":2}')
    assert not any(writable(constraint, text) for text in endless)


def test_a_model_that_knows_the_answer_gives_it_in_its_shape(demo: VLM) -> None:
    kinds = {"type": "string", "enum": ["square", "bar", "column"]}
    constraint = Constraint.from_schema(
        {
            "type": "object",
            "properties": {"color": {"enum": sorted(COLORS)}, "shape": kinds},
            "required": ["color", "shape"],
            "additionalProperties": False,
        }
    )
    told = []
    for color in COLORS:
        scene = Scene("white" if color != "white" else "black", (Block(color, "square", (0.3, 0.2, 0.6, 0.65)),))
        answer = demo.describe(
            scene.draw(196, 140), "Answer in JSON with the keys color and shape.", constraint=constraint
        )
        told.append(constraint.check(answer.text, answer.finish_reason))
        assert constraint.tidy(answer.text) == f'{{"color":"{told[-1]["color"]}","shape":"{told[-1]["shape"]}"}}'
    assert sum(value == {"color": color, "shape": "square"} for color, value in zip(COLORS, told, strict=True)) >= 7


def test_text_is_written_as_it_is() -> None:
    anything = Constraint.from_schema({"type": "string"})
    assert all(writable(anything, text) for text in ('"é😀\u2028"', '"\\n\\"\\\\"', '"\\u0001"'))
    assert not any(writable(anything, text) for text in ('"\\ud800"', '"\\u00e9"', '"a\nb"', "'a'"))


def test_numbers_end() -> None:
    number, whole = Constraint.from_schema({"type": "number"}), Constraint.from_schema({"type": "integer"})
    assert all(writable(number, text) for text in ("0", "-12.5", "0.333333333", "9007199254740991"))
    assert not any(writable(number, text) for text in ("0.3333333333", "9007199254740992", "1e999", "01"))
    assert writable(whole, "-9007199254740991")
    assert not any(writable(whole, text) for text in ("9007199254740992", "1.0", "1e3"))
    own = Constraint.from_schema({"type": "integer", "minimum": 10**17})
    assert writable(own, str(10**17 + 1))
    assert not writable(own, "5")
    inside = Constraint.from_schema({"type": "array", "items": {"anyOf": [True, {"type": "string"}]}})
    assert not writable(inside, f"[{'1' * 17}]")


def test_pydantic_models() -> None:
    from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

    class Block(BaseModel):
        color: Literal["red", "green"]
        size: int = Field(ge=1, le=9)
        inside: list[Block] = []

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    nested = Constraint.from_schema(Block)
    text = '{"color":"red","size":3,"inside":[{"color":"green","size":9}]}'
    assert writable(nested, text)
    assert Block.model_validate(nested.check(text)).inside[0].size == 9
    assert not writable(nested, '{"color":"red","size":3,"more":1}')
    assert not writable(nested, '{"color":"red","size":10}')
    assert writable(Constraint.from_schema(Open), '{"more":1}')
    assert writable(Constraint.from_schema(TypeAdapter(list[Block])), '[{"color":"red","size":3}]')

    class Bag(BaseModel):
        words: set[str]

    bag = Constraint.from_schema(Bag)
    assert Bag.model_validate(bag.check('{"words":["a","b"]}')).words == {"a", "b"}
    with pytest.raises(EngineError, match=r"at #/words: .* has non-unique elements"):
        bag.check('{"words":["a","a"]}')


@pytest.mark.parametrize(
    ("schema", "answer", "sentence"),
    [
        ("name, age int", '{"name":"a"}', "'age' is a required property"),
        ("name, age int", '{"name":"a","age":"b"}', "at #/age: 'b' is not of type 'integer'"),
        ("name, age int", '{"name":"a","age"', "cannot be read as JSON"),
        ({"type": "number"}, "1e999", "too large"),
        ({"type": "integer"}, "1" * 5000, "5000 digits"),
        ({"type": "number"}, "NaN", "no number of JSON"),
        ({"type": "number", "multipleOf": 0.1}, "0.35", "not a multiple"),
        ({"type": "string", "pattern": "^\\d$"}, '"٣"', "does not match"),
        ({"type": "string", "format": "date"}, '"2021-02-29"', "is not a 'date'"),
        ({"type": "string", "format": "date-time"}, '"2021-02-29T00:00:00Z"', "is not a 'date-time'"),
        ({"type": "string", "format": "time"}, '"22:59:60Z"', "is not a 'time'"),
        ({}, "[" * 100_000, "too deeply"),
    ],
)
def test_a_check_says_what_is_wrong(schema: Any, answer: str, sentence: str) -> None:
    with pytest.raises(EngineError) as wrong:
        Constraint.from_schema(schema).check(answer)
    assert sentence in str(wrong.value)


def test_a_check_knows_decimals_patterns_and_leap_seconds() -> None:
    assert Constraint.from_schema({"type": "number", "multipleOf": 0.1}).check("0.3") == 0.3
    assert Constraint.from_schema({"type": "string", "pattern": "^\\p{L}+$"}).check('"é"') == "é"
    assert Constraint.from_schema({"type": "string", "format": "time"}).check('"01:29:60+01:30"') == "01:29:60+01:30"
    assert Constraint.json_object().check('{"a":1,"a":2}') == {"a": 2}


def test_tidy_json_has_no_white_space_outside_texts() -> None:
    loose = '{ "a b" : [1.50,\n\t-0, "x \\" : y\\\\"] ,"c":null } '
    assert Constraint.json_object().tidy(loose) == '{"a b":[1.50,-0,"x \\" : y\\\\"],"c":null}'
    assert json.loads(Constraint.json_object().tidy(loose)) == json.loads(loose)
    assert Constraint.regex(".*").tidy(" a  b ") == " a  b "


@pytest.mark.parametrize("reason", ["length", "repetition", "abort", "error"])
def test_what_is_not_whole_does_not_pass(reason: Any) -> None:
    with pytest.raises(EngineError, match=reason) as cut:
        Constraint.regex("[0-9]+").check("12", reason)
    assert (reason == "length") == ("-n" in (cut.value.hint or ""))


# -- choices, expressions, Lark


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5, unique=True), TEXTS)
def test_exactly_the_choices_can_be_written(choices: list[str], other: str) -> None:
    constraint = Constraint.choices(choices)
    assert all(constraint.check(choice) == choice for choice in choices)
    assert writable(constraint, other) == (other in choices)
    beginnings = {choice[:end] for choice in choices for end in range(len(choice))} - set(choices)
    assert not any(writable(constraint, text) for text in beginnings)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**6),
    st.decimals(-(10**6), 10**6, places=3, allow_nan=False, allow_infinity=False),
)
def test_ranges_hold(low: int, span: int, value: Decimal) -> None:
    constraint = Constraint.from_schema({"type": "number", "minimum": low, "exclusiveMaximum": low + span + 1})
    is_within = low <= value < low + span + 1
    assert writable(constraint, f"{value.normalize():f}") == is_within or value == 0  # -0 may be left out
    assert is_within or not writable(constraint, f"{value:f}")  # zeros at the end: llguidance leaves some out


@pytest.mark.parametrize("choices", [[], [""], ["a", ""], ["a", "b", "a"]])
def test_choices_that_make_no_sense(choices: list[str]) -> None:
    with pytest.raises(UsageError):
        Constraint.choices(choices)


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"\d{2,3}", "12", "1"),
        (r"\d+", "12", "٣"),
        (r"[\d,]+/\w", "1,2/é", "1.2/a"),
        (r"(?i)red|blue", "RED", "green"),
        ("a\nb", "a\nb", "a b"),
        ("^a$", "a", "ab"),
        (".*", "", "a\nb"),
    ],
)
def test_expressions_match_as_a_whole(pattern: str, right: str, wrong: str) -> None:
    constraint = Constraint.regex(pattern)
    assert constraint.check(right) == right
    with pytest.raises(EngineError, match="does not fit"):
        constraint.check(wrong)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [("", "empty"), ("(a", "unclosed group"), ("a(?!b)", "look-around"), (r"(a)\1", "backreferences"), (r"\bx", "not")],
)
def test_wrong_expressions(pattern: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Constraint.regex(pattern)


def test_lark() -> None:
    sums = Constraint.lark('start: term ("+" term)*\nterm: NUMBER | "(" start ")"\nNUMBER: /[0-9]+/')
    assert sums.check("1+(2+33)") == "1+(2+33)"
    assert not writable(sums, "1+(2")
    with pytest.raises(UsageError, match='line 1, column 8: unknown name: "foo"'):
        Constraint.lark("start: foo")
    with pytest.raises(UsageError, match="Empty grammar"):
        Constraint.lark("")
    assert Constraint.lark("start: <|im_start|>").check("any") == "any"  # the model's own names are not known here


def test_constraints_travel() -> None:
    one = Constraint.choices(["a", "b"])
    assert pickle.loads(pickle.dumps(one)) == one
    assert len({one, Constraint.choices(["a", "b"]), Constraint.choices(["b", "a"])}) == 2
    with pytest.raises(UsageError, match="no such kind"):
        Constraint("xml", "a")  # type: ignore[arg-type]


# -- as users give them


def test_files_and_words(tmp_path: Path) -> None:
    (tmp_path / "thing.json").write_text('\ufeff{"type": "boolean"}', encoding="utf-8")
    (tmp_path / "fields").write_text("name\nage int")
    (tmp_path / "colors.txt").write_text("red\n\nred, dark\n")
    (tmp_path / "list.gbnf").write_text('# a list\nroot ::= ("- " [a-z]+ "\\n")+')
    (tmp_path / "sum.lark").write_text('start: /[0-9]+/ "+" /[0-9]+/')
    assert writable(schema_given("thing.json", tmp_path), "true")
    assert writable(schema_given("@fields", tmp_path), '{"name":"","age":1}')
    assert writable(schema_given(str(tmp_path / "fields")), '{"name":"","age":1}')
    assert writable(schema_given(' {"type": "null"}', tmp_path), "null")
    assert writable(schema_given("a, b: what it is"), '{"a":"","b":""}')
    assert choices_given("red, dark blue").check("dark blue") == "dark blue"
    assert choices_given("@colors.txt", tmp_path).check("red, dark") == "red, dark"
    assert grammar_given("list.gbnf", tmp_path).check("- a\n- b\n") == "- a\n- b\n"
    assert grammar_given("@sum.lark", tmp_path).check("1+2") == "1+2"
    assert grammar_given('start: "a"\n').kind == "lark"


def test_files_that_are_not_there_or_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"minLenght": 1}')
    (tmp_path / "latin.txt").write_bytes(b"gr\xfcn")
    for give in (lambda: schema_given("no.json", tmp_path), lambda: choices_given("@no.txt", tmp_path)):
        with pytest.raises(InputError, match=r"no\.(json|txt): No such file"):
            give()
    with pytest.raises(InputError, match=r"grammar\.gbnf"):
        grammar_given("grammar.gbnf", tmp_path)
    with pytest.raises(InputError, match="not UTF-8"):
        choices_given("@latin.txt", tmp_path)
    with pytest.raises(UsageError, match=r"bad\.json: 'minLenght'"):
        schema_given("bad.json", tmp_path)


@settings(deadline=None)
@given(st.text(string.printable, max_size=400))
def test_any_words_make_a_schema_or_a_clear_error(text: str) -> None:
    try:
        constraint = schema_given(text)
    except (UsageError, InputError) as error:
        assert "\n" not in str(error) or "\n" in text  # noqa: PT017
        return
    assert constraint.kind == "json_schema"


# -- with a model


def test_the_model_chooses_and_what_is_cut_is_told(demo: VLM, scene: Scene, tmp_path: Path) -> None:
    scene.draw(196, 140).save(tmp_path / "scene.png")
    chosen = Constraint.choices([block.name for block in scene.blocks])
    answer = demo.describe(tmp_path / "scene.png", "What is on the left?", constraint=chosen)
    assert chosen.check(answer.text, answer.finish_reason) == scene.blocks[0].name
    long = Constraint.regex("[A-Za-z ,]{500}")
    cut = demo.describe(tmp_path / "scene.png", "Describe this image.", constraint=long, max_tokens=5)
    with pytest.raises(EngineError, match="length"):
        long.check(cut.text, cut.finish_reason)
