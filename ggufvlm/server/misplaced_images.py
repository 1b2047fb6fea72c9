"""Images in fields that no route reads. They would vanish, and the answer would be invented."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

_NAME = re.compile(
    r"(?:input_?)?(?:image|img|picture|photo|video|audio|pixel_values|mm_data|multi_modal_data)", re.IGNORECASE
)
_DATA_URI = re.compile(r"data:(?:image|video|audio|application/pdf)", re.IGNORECASE)
_LEAST = 64
"""Characters of base64 that may be an image file: the smallest ones have some more."""
_MAGIC = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\x00|MM\x00\*|BM....\x00{4}|\x00\x00\x01\x00[\x01-\x20]\x00"
    rb"|....ftyp(?:avi|hei|hev|mif|msf|mp4|iso|qt)|\x00{3}\x0c(?:JXL |jP  )|8BPS|%PDF-",
    re.DOTALL,
)


def misplaced_image(name: str, value: Any, place: str) -> str | None:
    """Where something in a field looks like an image: by the names of fields, or by what texts begin with.

    Args:
        name: of the field.
        value: what stands in it.
        place: the field's own place.
    """
    return place if _is_named_so(name, value) else _first(value, place, by_name=True)


def image_in(value: Any, place: str) -> str | None:
    """As :func:`misplaced_image`, for fields whose content is named by others: only what looks like a file counts."""
    return _first(value, place, by_name=False)


def _is_named_so(name: object, value: Any) -> bool:
    return isinstance(value, (str, list, dict)) and bool(value) and isinstance(name, str) and bool(_NAME.match(name))


def _first(value: Any, place: str, *, by_name: bool) -> str | None:
    if _is_image(value):
        return place
    waiting = [(place, _items(value))]  # no recursion: a body nests as deeply as it likes
    while waiting:
        above, items = waiting[-1]
        for name, item in items:
            if not item or not isinstance(item, (str, list, dict)):
                continue
            where = f"{above}.{str(name)[:40]}"
            if _is_image(item) or (by_name and _is_named_so(name, item)):
                return where
            if not isinstance(item, str):
                waiting.append((where, _items(item)))
                break
        else:
            waiting.pop()
    return None


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value if isinstance(value, list) else ()))


def _is_image(value: Any) -> bool:
    if not isinstance(value, str) or len(value) < _LEAST:
        return isinstance(value, str) and _DATA_URI.match(value.lstrip()) is not None
    head = value[: 4 * _LEAST].lstrip()
    if _DATA_URI.match(head):
        return True
    plain = "".join(head.splitlines())[:_LEAST].replace("-", "+").replace("_", "/")
    try:
        return _MAGIC.match(base64.b64decode(plain, validate=True)) is not None
    except (binascii.Error, ValueError):
        return False
