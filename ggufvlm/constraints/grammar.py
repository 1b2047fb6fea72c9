"""Constraints as grammars of llguidance, which says what it cannot enforce."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from ggufvlm.constraints.byte_matcher import accepts, byte_matcher
from ggufvlm.errors import UsageError

_NEEDS_VOCABULARY = "no tokenizer"  # llguidance's warning: a special token is named, which only a model can look up

_COUNTS_TOKENS = re.compile(r"\bmax_tokens\b")

# at most one blank: models answer better where they may write {"a": 1}, and some would never stop breaking lines
_WHITE_SPACE = " "


def choices_text(choices: Iterable[str]) -> str:
    """The texts as a JSON list.

    Raises:
        UsageError: there are none, or one is empty or named twice.
    """
    listed = list(choices)
    if not listed:
        raise UsageError("no choices given")
    if not all(listed):
        raise UsageError("a choice is empty")
    seen: set[str] = set()
    for choice in listed:
        if choice in seen:
            raise UsageError(f"a choice is named twice: {choice!r}")
        seen.add(choice)
    return json.dumps(listed, ensure_ascii=False)


@lru_cache(maxsize=64)
def compiled(kind: str, text: str) -> str:
    """A constraint's grammar as ``llguidance.LLMatcher`` takes it.

    Raises:
        UsageError: it is wrong, or cannot be enforced; where llguidance refuses it, in its own words.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the {_NAMES[kind]} holds half a character (surrogate): {error.object[error.start]!a}"
        ) from error
    try:
        if kind == "json_schema":
            return _schema_grammar(text)
        grammar = _lark(kind, text)
    except RecursionError as error:
        raise UsageError(f"the {_NAMES[kind]} is nested too deeply") from error
    _refuse(kind, grammar)
    return grammar


_NAMES = {
    "json_schema": "schema",
    "regex": "regular expression",
    "choices": "list of choices",
    "lark": "Lark grammar",
    "gbnf": "GBNF grammar",
}


def _schema_grammar(text: str) -> str:
    from llguidance import LLMatcher

    from ggufvlm.constraints.bounds import bounded
    from ggufvlm.constraints.depth import require_shallow, schema_references
    from ggufvlm.constraints.dialects import as_json_schema, held_by_grammar
    from ggufvlm.constraints.schema import read_schema
    from ggufvlm.constraints.validation import validator_of

    given = read_schema(text)
    schema = held_by_grammar(as_json_schema(given))
    require_shallow(schema_references(schema), "#")
    options: Any = {"whitespace_pattern": _WHITE_SPACE}
    try:
        plain = LLMatcher.grammar_from_json_schema(text if schema == given else json.dumps(schema), overrides=options)
    except ValueError as error:  # half characters, hundreds of levels
        raise UsageError(f"the schema is refused: {error}") from error
    _refuse("json_schema", plain, schema)
    validator_of(text)  # llguidance takes what the schema's draft does not, such as a list of items
    limited = LLMatcher.grammar_from_json_schema(json.dumps(bounded(schema)), overrides=options)
    return plain if LLMatcher.validate_grammar_with_warnings(limited)[1] else limited


def _lark(kind: str, text: str) -> str:
    from llguidance import LLMatcher, regex_to_lark

    from ggufvlm.constraints.depth import lark_references, require_shallow, schema_references, schemas_in_lark

    if kind == "regex":
        if not text:
            raise UsageError("the regular expression is empty")
        return LLMatcher.grammar_from_lark(f"start: /{regex_to_lark(text, 'd')}/")
    if kind == "choices":
        # one terminal: a choice may begin with another one
        return LLMatcher.grammar_from_lark(f"start: CHOICE\nCHOICE: {' | '.join(map(json.dumps, json.loads(text)))}")
    if kind == "gbnf":
        from ggufvlm.constraints.gbnf import gbnf_to_lark

        return LLMatcher.grammar_from_lark(gbnf_to_lark(text))
    require_shallow(lark_references(text), "start")
    for schema in schemas_in_lark(text):
        require_shallow(schema_references(schema), "#")
    return LLMatcher.grammar_from_lark(text)


def _refuse(kind: str, grammar: str, schema: object = None) -> None:
    """Raise UsageError for what llguidance cannot enforce, a warning of its included."""
    from llguidance import LLMatcher

    _, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    refused = [message for message in messages if not message.startswith(_NEEDS_VOCABULARY)]
    if refused:
        sentence = _sentence(refused[0])
        hint = None
        if kind == "json_schema":
            from ggufvlm.constraints.schema import place_of, way_out

            sentence, hint = place_of(sentence, schema), way_out(sentence)
        raise UsageError(f"the {_NAMES[kind]} is refused: {sentence}", hint=hint)
    if not messages and _is_dead(grammar):
        raise UsageError(f"the {_NAMES[kind]} is refused: no answer can fit it")


def _sentence(message: str) -> str:
    """A message of llguidance in one line: of an error in a regular expression, what is wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    inside = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    first = lines[0] if lines else ""
    expression = re.match(r"at \d+\(\d+\): invalid regex .*\(in regex\): ", first)
    if inside or expression:
        return inside or first[expression.end() if expression else 0 :]
    return re.sub(r"^(?:at )?(\d+)\((\d+)\): ", r"line \1, column \2: ", first)


def _is_dead(grammar: str) -> bool:
    matcher = byte_matcher(grammar)
    return not (matcher.is_accepting() or any(matcher.validate_tokens([byte]) for byte in range(256)))


def fits(kind: str, text: str, answer: str) -> bool:
    """Whether a finished answer is one that the grammar allows.

    An answer to a grammar with special tokens counts as one: its text does not show all tokens.

    Args:
        kind, text: the constraint, as for :func:`compiled`.
        answer: the whole answer.
    """
    from llguidance import LLMatcher

    grammar = compiled(kind, text)
    if kind == "lark" and _COUNTS_TOKENS.search(text):
        return True  # bytes are no tokens, and would be too many of them; the model's own tokens have been counted
    if LLMatcher.validate_grammar_with_warnings(grammar)[1]:
        return True
    return accepts(grammar, answer)
