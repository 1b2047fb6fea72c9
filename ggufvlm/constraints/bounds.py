"""Numbers that end: a model that has begun to write digits often goes on with them.

Where a schema sets no limit of its own, numbers are kept to those that all readers of JSON hold exactly (RFC 7493,
section 2.2) and to nine digits behind the point. llguidance writes a limited number without an exponent.
"""

from __future__ import annotations

import copy
from typing import Any

from ggufvlm.constraints.schema import LISTS, NAMED, ONE, parts

LARGEST = 2**53 - 1
FINEST = 1e-9
_ELSEWHERE = {"enum", "const", "$ref", "allOf", "anyOf", "oneOf"}


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with limits for numbers where it has none; every answer to it is one to the schema itself."""
    made = copy.deepcopy(schema)
    for _, part in parts(made):
        _spell_out(part)
    for _, part in parts(made):
        kinds = part.get("type", "number")
        kinds = set(kinds if isinstance(kinds, list) else [kinds])
        if {"number", "integer"} & kinds and not _ELSEWHERE & part.keys():
            _limit(part)
            if "number" in kinds:
                part.setdefault("multipleOf", FINEST)
    return made


def _spell_out(part: dict[str, Any]) -> None:
    """Write ``true`` in place of a schema as ``{}``, which can be limited."""
    for word, value in part.items():
        if word in ONE and value is True:
            part[word] = {}
        elif word in LISTS and isinstance(value, list):
            part[word] = [{} if item is True else item for item in value]
        elif word in NAMED and isinstance(value, dict):
            part[word] = {name: {} if item is True else item for name, item in value.items()}


def _limit(part: dict[str, Any]) -> None:
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    if low is None and (high is None or high > -LARGEST):
        part["minimum"] = -LARGEST
    if high is None and (low is None or low < LARGEST):
        part["maximum"] = LARGEST
