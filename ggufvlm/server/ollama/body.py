"""The body of a request as Ollama's clients send it, read field by field.

What is known has to have the right type; for the rest there is :mod:`ggufvlm.server.unread_fields`.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.sources.data_uri import read_data_uri
from ggufvlm.server.contract import NotServed


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """A text; empty if it is not given.

    Raises:
        UsageError: it is something else.
    """
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UsageError(f'"{name}" must be a string')
    return value


def flag_of(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    """true or false.

    Args:
        fields: the body.
        name: of the field.
        default: its value where it is missing.

    Raises:
        UsageError: it is something else.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise UsageError(f'"{name}" must be true or false')
    return value


def list_of(fields: Mapping[str, Any], name: str) -> list[Any]:
    """A list; empty if it is not given.

    Raises:
        UsageError: it is something else.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f'"{name}" must be a list')
    return value


def object_of(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object; empty if it is not given.

    Raises:
        UsageError: it is something else.
    """
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f'"{name}" must be an object')
    return value


def number_of(value: Any, name: str) -> float:
    """A finite number.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f'"{name}" must be a number')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f'"{name}" is too large')
    return number


def whole_number_of(value: Any, name: str) -> int:
    """A whole number; also one that is written as 3.0, as JSON from some languages has it.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = number_of(value, name)
    if not number.is_integer():
        raise UsageError(f'"{name}" must be a whole number')
    return int(number)


def texts_of(value: Any, name: str) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f'"{name}" must be a list of strings')
    return tuple(value)


def images_of(fields: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The files in ``images``, decoded from base64 with or without line breaks, or from data URIs.

    Raises:
        ImageError: one of them is neither. Names of files and URLs are not, and are never opened.
    """
    return tuple(_image(item, place) for place, item in enumerate(list_of(fields, "images"), start=1))


def _image(item: Any, place: int) -> bytes:
    if not isinstance(item, str):
        raise ImageError(f"image {place}: must be a base64 string")
    try:
        data = _bytes_of(item)
    except ImageError as error:
        raise ImageError(f"image {place}: {error}", hint=error.hint) from None
    except (binascii.Error, ValueError):
        raise ImageError(f"image {place}: not valid base64 of an image file") from None
    if not data:
        raise ImageError(f"image {place}: empty")
    return data


def _bytes_of(text: str) -> bytes:
    """Raises: ImageError, a damaged data URI; ValueError, no base64."""
    if text[:5].lower() == "data:":
        return read_data_uri(text)[0]
    try:
        return base64.b64decode(text, validate=True)  # nearly all are so, and this makes no copies
    except binascii.Error:
        return base64.b64decode("".join(text.split()), validate=True)


def refuse(fields: Mapping[str, Any], refusals: Mapping[str, str]) -> None:
    """Refuse fields that ask for something; null, false, 0 and what is empty ask for nothing.

    Raises:
        NotServed: one of them does.
    """
    for name, why in refusals.items():
        if fields.get(name):
            raise NotServed(f'"{name}" is not served: {why}', param=name)
