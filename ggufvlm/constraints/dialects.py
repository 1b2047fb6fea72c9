"""What schemas say that a grammar cannot hold: words of other dialects, notes, and what only a whole answer shows.

OpenAPI 3.0, and Google's and Home Assistant's schemas after it, write ``nullable``
(https://spec.openapis.org/oas/v3.0.3#schema-object) and formats of their own, which JSON Schema takes for notes.
"""

from __future__ import annotations

import copy
from typing import Any

from ggufvlm.constraints.schema import parts
from ggufvlm.errors import UsageError

CHECKED_FORMATS = frozenset({"date", "time", "date-time"})
"""Formats of which a grammar holds the form only: it lets 30 February through."""
_HELD_FORMATS = CHECKED_FORMATS | {
    *("duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown"),  # llguidance's, json/formats.rs
}
_COMBINED = {"$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "const"}
_STAYS_OUTSIDE = {
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$defs", "definitions"),
}
_NOTES: dict[str, type] = {
    **dict.fromkeys(("title", "description", "$comment"), str),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly"), bool),
    **{"examples": list, "default": object},
}
"""Notes of JSON Schema itself, and what they have to be."""


def as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with types that null belongs to in place of ``nullable``, and without notes that are none.

    Where there is an ``enum``, null is put into it: OpenAPI leaves that to the author, who means it by writing both.

    Raises:
        UsageError: ``nullable`` is neither true nor false.
    """
    made = copy.deepcopy(schema)
    for path, part in list(parts(made)):
        for note, kind in _NOTES.items():
            if note in part and not isinstance(part[note], kind):
                del part[note]
        if "nullable" not in part:
            continue
        wanted = part.pop("nullable")
        if not isinstance(wanted, bool):
            raise UsageError(f"nullable at {path} is true or false, not {str(wanted)[:40]!r}")
        if wanted:
            _allow_null(part)
    return made


def _allow_null(part: dict[str, Any]) -> None:
    if part.keys() & _COMBINED:
        inside = {word: part.pop(word) for word in list(part) if word not in _STAYS_OUTSIDE}
        part["anyOf"] = [inside, {"type": "null"}]
        return
    kinds = part.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    if isinstance(kinds, list) and "null" not in kinds:
        part["type"] = [*kinds, "null"]
    if isinstance(part.get("enum"), list) and None not in part["enum"]:
        part["enum"] = [*part["enum"], None]


def held_by_grammar(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without what llguidance refuses and nothing is lost by: what is checked later, or means nothing."""
    made = copy.deepcopy(schema)
    for _, part in parts(made):
        if isinstance(part.get("uniqueItems"), bool):
            del part["uniqueItems"]
        if "propertyNames" in part and _takes_all_texts(part["propertyNames"]):
            del part["propertyNames"]
        if isinstance(part.get("format"), str) and part["format"] not in _HELD_FORMATS:
            del part["format"]
    return made


def _takes_all_texts(schema: Any) -> bool:
    """Whether it allows any text, as names of properties are."""
    if schema is True:
        return True
    if not isinstance(schema, dict) or schema.keys() - _NOTES.keys() - {"type"}:
        return False
    kinds = schema.get("type", "string")
    return "string" in (kinds if isinstance(kinds, list) else [kinds])


def is_left_to_check(schema: dict[str, Any]) -> bool:
    """Whether an answer that keeps to the grammar may break the schema all the same."""
    return any(part.get("uniqueItems") is True or part.get("format") in CHECKED_FORMATS for _, part in parts(schema))
