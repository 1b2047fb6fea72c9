"""Schemas in one line, as the ``llm`` program takes them: ``name, age int, bio: what is known of them``."""

from __future__ import annotations

from typing import Any

from ggufvlm.errors import UsageError

_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def read_shorthand(text: str) -> dict[str, Any]:
    """The schema of an object with these fields, all of them required, and no others.

    The syntax is that of llm's "concise schema syntax": fields are separated by commas, or by line breaks if there are
    any; a field is ``NAME [TYPE][: DESCRIPTION]``, its type ``str`` unless it is ``int``, ``float`` or ``bool``.

    Raises:
        UsageError: a field has no name, an unknown type, or is there twice.
    """
    properties: dict[str, Any] = {}
    separator = "\n" if "\n" in text.strip() else ","
    for field in filter(None, map(str.strip, text.split(separator))):
        head, _, description = field.partition(":")
        words = head.split()
        name = _name(words, field)
        if name in properties:
            raise UsageError(f"schema: two fields are called {name!r}")
        kind = words[1] if len(words) == 2 else "str"
        if kind not in _TYPES:
            raise UsageError(
                f"schema: unknown type {kind!r} of {name!r}", hint=f"types are {', '.join(_TYPES)}: name, age int"
            )
        properties[name] = {"type": _TYPES[kind]}
        if description.strip():
            properties[name]["description"] = description.strip()
    if not properties:
        raise UsageError("the schema is empty", hint="for example: name, age int")
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _name(words: list[str], field: str) -> str:
    if not words:
        raise UsageError(f"schema: a field without a name: {field!r}")
    if len(words) > 2:
        raise UsageError(
            f"schema: cannot read {field!r}", hint="a field is NAME TYPE: DESCRIPTION; for JSON begin with {"
        )
    return words[0]
