"""JSON schemas: from what a user gives to text, and what stands in them that nobody would enforce.

llguidance refuses keywords of JSON Schema that it does not know, and passes over words that are none: a misspelt
``minLenght`` would silently mean nothing. So words that JSON Schema (Draft 2020-12 and before) does not know are
refused here if they look like keywords: nearly spelt like one, meaning one elsewhere, or with a schema in them. Others
are notes, as JSON Schema has it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ggufvlm.constraints.shorthand import read_shorthand
from ggufvlm.errors import UsageError

ONE = {
    "additionalProperties",
    "additionalItems",
    "items",
    "contains",
    "contentSchema",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
}
"""Keywords with a schema in them; ``items`` had a list before 2020."""
LISTS = {"allOf", "anyOf", "oneOf", "prefixItems", "items"}
NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
_ASSERTIONS = {
    *("type", "enum", "const", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems", "minContains"),
    *("maxContains", "minProperties", "maxProperties", "required", "dependentRequired"),
    *("$ref", "$dynamicRef", "$recursiveRef"),
}
_ANNOTATIONS = {
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment"),
    *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("contentEncoding", "contentMediaType", "discriminator", "externalDocs", "xml"),
    *("propertyOrdering", "enumNames", "enumDescriptions", "markdownDescription", "errorMessage", "defaultSnippets"),
}
_DIALECTS = {"nullable"}
_MEANT = {
    **{"min": "minimum", "max": "maximum", "range": "minimum and maximum", "step": "multipleOf"},
    **{"length": "minLength and maxLength", "size": "minItems and maxItems", "regex": "pattern", "regexp": "pattern"},
    **{
        "choices": "enum",
        "options": "enum",
        "values": "enum",
        "enums": "enum",
        "types": "type",
        "fields": "properties",
    },
}
"""Words that mean a constraint elsewhere, and what JSON Schema calls it; no underscores in them."""
_SURELY_MEANT = 0.85
_NAMES = {"$schema", "$id", "$anchor", "$dynamicAnchor", "$ref", "$dynamicRef"}
_KEYWORDS = ONE | LISTS | NAMED | _ASSERTIONS | _DIALECTS
_KNOWN = _KEYWORDS | _ANNOTATIONS
_PLAINLY = {word.lower(): word for word in _KEYWORDS}


def schema_text(schema: Any) -> str:
    """A schema as JSON text.

    Args:
        schema: a mapping, JSON text, llm's shorthand, a pydantic model or type adapter.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(schema, str):
        return schema.strip() if _is_json(schema) else _dumped(read_shorthand(schema))
    make = getattr(schema, "model_json_schema", None) or getattr(schema, "json_schema", None)
    if callable(make):
        return _dumped(_closed(make()))
    if isinstance(schema, Mapping):
        return _dumped(dict(schema))
    raise UsageError(f"not a schema: {schema!r}", hint="a dict, JSON text, or a pydantic model")


def _is_json(text: str) -> bool:
    """Whether it is meant as JSON, if only by mistake: ``[]`` and ``true`` are no names of fields."""
    return text.lstrip().startswith(("{", "[", '"')) or text.strip() in ("true", "false", "null")


def _dumped(schema: Any) -> str:
    try:
        return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the schema cannot be written as JSON: {error}") from error


def _closed(schema: Any) -> Any:
    """The same with no further keys in objects: what a pydantic class would drop need not be written first."""
    for _, part in parts(schema):
        if "properties" in part and "additionalProperties" not in part:
            part["additionalProperties"] = False
    return schema


def read_schema(text: str) -> dict[str, Any]:
    """The schema of a JSON text, with all its words known.

    Raises:
        UsageError: not JSON, not an object, or with a word that is no keyword.
    """
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the schema is not JSON: {error}", hint="or in short: name, age int") from error
    if not isinstance(schema, dict):
        raise UsageError(f"a schema is a JSON object, not {text[:40]!r}")
    for path, part in parts(schema):
        for word, value in part.items():
            _require_known(word, value, path)
            if word in _NAMES and not isinstance(value, str):
                raise UsageError(f"{word} at {path} is a text, not {json.dumps(value)[:40]}")
    return schema


def _require_known(word: str, value: Any, path: str) -> None:
    if word == "x-guidance":
        raise UsageError("x-guidance in a schema is not taken: all keywords count")
    if word in _KNOWN or word.startswith("x-"):
        return
    meant = _keyword_meant(word)
    if meant is None and not _holds_objects(value):
        return
    raise UsageError(
        f"{word!r} at {path} is no keyword of JSON Schema",
        hint=f"{meant}?" if meant else "names of fields stand inside properties; notes of your own begin with x-",
    )


def _keyword_meant(word: str) -> str | None:
    """The keyword that a word stands for by mistake, if it looks like that."""
    plain = word.lower().replace("_", "").replace("-", "")
    if plain in _PLAINLY or plain in _MEANT:
        return _PLAINLY.get(plain) or _MEANT[plain]
    near = difflib.get_close_matches(plain, [known for known in _PLAINLY if len(known) > 4], 1, _SURELY_MEANT)
    return _PLAINLY[near[0]] if near else None


def _holds_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def parts(schema: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and all schemas in it, each with its JSON pointer, outer before inner."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for word, value in schema.items():
        if word in ONE and isinstance(value, dict):
            yield from parts(value, f"{path}/{word}")
        elif word in LISTS and isinstance(value, list):
            for index, item in enumerate(value):
                yield from parts(item, f"{path}/{word}/{index}")
        elif word in NAMED and isinstance(value, dict):
            for name, item in value.items():
                yield from parts(item, f"{path}/{word}/{name.replace('~', '~0').replace('/', '~1')}")


def place_of(sentence: str, schema: Any) -> str:
    """A sentence of llguidance with the place of what it names, where that can be found."""
    unknown = re.search(r'Unimplemented keys: \["([^"]+)"', sentence)
    one_of = "oneOf" if sentence.startswith("oneOf constraints") else None
    for path, part in parts(schema):
        if (unknown and unknown[1] in part) or (one_of and one_of in part):
            return f"{sentence} (at {path})"
    return sentence


def way_out(sentence: str) -> str | None:
    """What may be written instead of what llguidance refuses."""
    if sentence.startswith("oneOf constraints"):
        return "anyOf is taken; oneOf too where its branches differ in type or in a constant property"
    if sentence.startswith("Unimplemented keys"):
        return "answers cannot be held to that: leave it out of the schema"
    if sentence.startswith("Resource "):
        return "copy what it refers to into $defs"
    return None
