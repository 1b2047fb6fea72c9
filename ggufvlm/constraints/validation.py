"""A finished JSON answer, looked at once more: by a parser and a validator that had no part in making it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ggufvlm.constraints.byte_matcher import accepts
from ggufvlm.constraints.dialects import as_json_schema
from ggufvlm.errors import EngineError, UsageError

_MAX_DIGITS = 1000  # Python reads 4,300 at most, other programs far fewer


def parse_answer(schema_text: str, answer: str) -> Any:
    """What a JSON answer says. Of a key that is there twice the last value counts, as with all readers of JSON.

    Raises:
        EngineError: it is not JSON, holds a number that is too large, or breaks the schema.
        UsageError: the schema is not valid by its own draft.
    """
    validator = validator_of(schema_text)
    try:
        value = json.loads(answer, parse_float=_finite, parse_int=_whole, parse_constant=_constant)
        exact = json.loads(answer, parse_float=_exact)
        wrong = next(validator.iter_errors(exact), None)
    except RecursionError as error:
        raise EngineError("the answer is nested too deeply to read") from error
    except (ValueError, ArithmeticError) as error:
        raise EngineError(f"the answer cannot be read as JSON: {error}") from error
    if wrong is not None:
        raise EngineError(f"the answer breaks the schema at {_pointer(wrong.absolute_path)}: {wrong.message}")
    return value


@lru_cache(maxsize=64)
def validator_of(schema_text: str) -> Any:
    """A validator for the schema's own draft, else for 2020-12; it reads nothing from the network.

    Raises:
        UsageError: the schema breaks the rules of its draft.
    """
    from jsonschema import FormatChecker
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from jsonschema_specifications import REGISTRY

    plain = _read(schema_text)
    kind = validator_for(plain, default=Draft202012Validator)
    try:
        kind.check_schema(plain, format_checker=FormatChecker(formats=()))  # Python does not know all patterns
    except SchemaError as error:
        raise UsageError(
            f"the schema is wrong at {_pointer(error.absolute_path)}: {error.message[:200]}",
            hint=f"as {plain.get('$schema', 'Draft 2020-12')} has it; another draft is named by $schema",
        ) from error
    schema = _read(schema_text, parse_float=Decimal)
    ours = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    return extend(kind, ours)(schema, registry=REGISTRY, format_checker=_formats())


def _read(text: str, **options: Any) -> Any:
    schema = json.loads(text, **options)
    return as_json_schema(schema) if isinstance(schema, dict) else schema


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is too large")
    return value


def _exact(text: str) -> Decimal | int:
    """0.3 is a multiple of 0.1, and floats do not know it; 1.0 is an integer, and decimals do not know it."""
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _pointer(path: Any) -> str:
    return "#" + "".join(f"/{part}" for part in path)


def _matches(pattern: str, text: str) -> bool:
    r"""Whether JSON Schema's ``pattern`` matches, with ``\d`` and ``\w`` for ASCII, in time that grows with the text.

    Python's own engine tries all ways, of which ``^(a+)+c$`` has as many as there are numbers below two to the power
    of the letters.
    """
    return accepts(_string_grammar(pattern), json.dumps(text, ensure_ascii=False))


@lru_cache(maxsize=64)
def _string_grammar(pattern: str) -> str:
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "pattern": pattern}))


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    for pattern, schema in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    patterns = schema.get("patternProperties", {})
    for name, value in instance.items() if isinstance(instance, dict) else ():
        if name in schema.get("properties", {}) or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"{name!r} is no property of it")
        elif allowed is not True:
            yield from validator.descend(value, allowed, path=name)


@lru_cache(maxsize=1)
def _formats() -> Any:
    """What llguidance lets through of the formats it enforces: 30 February, and leap seconds at any time."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    checker.checks("date", ValueError)(_is_date)
    checker.checks("time")(_is_time)
    checker.checks("date-time", ValueError)(_is_date_time)
    return checker


def _is_date(text: object) -> bool:
    return not isinstance(text, str) or bool(date.fromisoformat(text))


def _is_date_time(text: object) -> bool:
    return not isinstance(text, str) or (_is_date(text[:10]) and _is_time(text[11:]))


def _is_time(text: object) -> bool:
    """Whether second 60 is the last one of a day in UTC (RFC 3339, 5.7)."""
    if not isinstance(text, str):
        return True
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:z|([+-])(\d\d):(\d\d))", text, re.IGNORECASE | re.ASCII)
    if found is None:
        return False
    hour, minute, second, sign, offset_hour, offset_minute = found.groups()
    offset = (1 if sign != "-" else -1) * (60 * int(offset_hour or 0) + int(offset_minute or 0))
    return int(second) < 60 or (60 * int(hour) + int(minute) - offset) % 1440 == 1439
