"""What looking at a value costs a chat template, and what a call would cost before it is made; in units of a budget."""

from __future__ import annotations

import re
from collections.abc import ItemsView, KeysView, ValuesView
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2.exceptions import SecurityError

ENDLESS = 6_000_000
"""No render has so many units, but for its texts."""
CHARACTERS_PER_UNIT = 4

_UNITS_PER_ITEM = 8
_MAX_DEPTH = 100  # of lists in lists: CPython's hash of a tuple has no bound of its own, and ends the process
_MAX_BITS = 10_000  # of a whole number
_PADDING = ("center", "ljust", "rjust", "zfill")
_LONG_NUMBER = re.compile(r"\d{4}|\*|\{[^{}]*\{")


class TooMuch(Exception):  # noqa: N818 - reads as what happened
    """The template does, makes or nests more than any real one."""


def size_of_nothing(_value: Any) -> int:
    """Of what is not looked at."""
    return 0


def size_of_made(value: Any) -> int:
    """Units for the memory of a value that was made of others, which have been paid."""
    if isinstance(value, (str, bytes)):
        return len(value) // CHARACTERS_PER_UNIT
    return len(value) * _UNITS_PER_ITEM if isinstance(value, (list, tuple, dict)) else 0


def size_of_items(value: Any) -> int:
    """Units for passing over a value's items, without a look into them."""
    return len(value) * _UNITS_PER_ITEM if isinstance(value, range) else size_of_made(value)


def size(value: Any) -> int:
    """Units for looking at all of a value, as printing, comparing and hashing do.

    Raises:
        TooMuch: it is nested deeper than anything a template needs, or holds more than :data:`ENDLESS`.
    """
    total = 0
    waiting = [(value, 0)]
    while waiting and total < ENDLESS:
        item, depth = waiting.pop()
        total += _UNITS_PER_ITEM
        if isinstance(item, (str, bytes)):
            total += len(item) // CHARACTERS_PER_UNIT
        elif isinstance(item, int):
            _check_bits(item.bit_length())
        elif isinstance(item, range):
            total += len(item) * _UNITS_PER_ITEM
        elif isinstance(item, (list, tuple, dict, KeysView, ValuesView, ItemsView)):
            if depth > _MAX_DEPTH:
                raise TooMuch("it nests lists deeper than any chat template needs to")
            waiting += [(inner, depth + 1) for inner in item]
            if isinstance(item, dict):
                waiting += [(inner, depth + 1) for inner in item.values()]
    if waiting:
        raise TooMuch("it looks at more than any chat template needs to")
    return total


def _check_bits(n_bits: int) -> None:
    if n_bits > _MAX_BITS:
        raise TooMuch("it computes with larger numbers than any chat template needs to")


def cost_of_operator(operator: str, left: Any, right: Any) -> int:
    """Of an operator between two values, beside what it makes.

    Raises:
        TooMuch, SecurityError: see :func:`size`; a width in a format.
    """
    if operator == "%" and isinstance(left, (str, bytes)):
        return cost_of_format(left, right)
    if isinstance(left, int) and isinstance(right, int):
        left_bits, right_bits = left.bit_length(), right.bit_length()
        _check_bits(left_bits * abs(right) if operator == "**" and left_bits > 1 else left_bits + right_bits)
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(value, (str, bytes, list, tuple)):
                return len(value) * times
    return 0


def cost_of_call(function: Any, given: tuple[Any, ...]) -> int:
    """Of a call, beside what it is given and what it makes: many methods of texts make much of little.

    Raises:
        SecurityError: a width in a format.
    """
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    layout = getattr(getattr(function, "__wrapped__", None), "__self__", None)  # Jinja wraps the method, but says so
    if isinstance(layout, str):
        return cost_of_format(layout, *given)
    is_method = isinstance(function, (BuiltinMethodType, MethodType))
    if not is_method or not isinstance(owner, (str, bytes, list, tuple)):
        return 0
    cost = size(owner)
    if name in _PADDING:
        cost += sum(number for number in given if isinstance(number, int) and number > 0)
    elif name == "replace" and len(given) > 1:
        cost += cost_of_replace(owner, *given[:2])
    elif name == "join":
        cost += sum(len(items) * size(owner) for items in given if isinstance(items, (list, tuple, dict)))
    return cost


def cost_of_replace(text: Any, old: Any, new: Any) -> int:
    """Of putting a text in the place of another."""
    return int(text.count(old)) * len(new) // CHARACTERS_PER_UNIT


def cost_of_format(layout: str | bytes, *given: Any, **named: Any) -> int:
    """Of ``%`` and of ``str.format``.

    Raises:
        SecurityError: a field is made wider than any text needs.
    """
    text = layout if isinstance(layout, str) else layout.decode("latin-1")
    if _LONG_NUMBER.search(text):
        raise SecurityError("a format with a width that no text needs")
    widest = 1000 // CHARACTERS_PER_UNIT + size(given) + size(named)
    return (text.count("{") + text.count("%")) * widest


def cost_of_indent(text: Any, width: int | str = 4, *_: Any, **__: Any) -> int:
    """Of the filter ``indent``."""
    n_characters = width if isinstance(width, int) else len(width)
    return (str(text).count("\n") + 1) * n_characters // CHARACTERS_PER_UNIT


def cost_of_round(_value: Any, precision: int = 0, *_: Any, **__: Any) -> int:
    """Of the filter ``round``, which computes ``10**precision``.

    Raises:
        SecurityError: there are not so many places.
    """
    if abs(precision) > 100:
        raise SecurityError("rounded to more places than a number has")
    return 0
