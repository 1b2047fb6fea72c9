"""The rule for fields that a route does not read, the same for all routes.

* What would change the answer is refused by name, unless its value asks for nothing.
* What looks like an image is refused by its place.
* What is nearly spelt like a field of the body that is read, or would be refused, is refused: it is meant.
* What is known to change no answer is passed over; placement on devices is told once in the log.
* All else is passed over and told once in the log: clients send much that is their own.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Mapping
from typing import Any

from ggufvlm.server.contract import NotServed
from ggufvlm.server.known_fields import AT_START, CHANGES_ANSWER, HARMLESS, IN_MESSAGE, WAYS_OUT
from ggufvlm.server.misplaced_images import image_in, misplaced_image

_log = logging.getLogger(__name__)

_SURELY_MEANT = 0.88
_LEAST_LETTERS = 5
_MAX_FIELDS = 200
_MAX_TOLD = 200
"""Names in the log: strangers may send as many as they like."""
_told: set[str] = set()
_IMAGES_GO = "on /v1 into the message's content, as a part of type image_url; on /api into images, beside the text"


def refuse_unread(
    fields: Mapping[str, Any], place: str = "", *, read: Collection[str] = (), options: Collection[str] = ()
) -> None:
    """Go through the fields of one object.

    Args:
        fields: all of them, or those that nobody has read.
        place: where the object stands in the body; empty for the body itself.
        read: names of those that are read.
        options: names that are read in another object, called options.

    Raises:
        NotServed: one of them would change the answer; it is named.
    """
    if len(fields) > _MAX_FIELDS:
        raise NotServed(f"{len(fields)} fields are too many", param=place or None)
    for name, value in fields.items():
        if name not in read:
            _refuse_one(name, value, f"{place}.{name[:60]}" if place else name[:60], read, options)


def _refuse_one(name: str, value: Any, where: str, read: Collection[str], options: Collection[str]) -> None:
    is_of_message = where.startswith("messages.") and name in IN_MESSAGE
    if name in CHANGES_ANSWER and not is_of_message:
        if _asks_for_something(value, CHANGES_ANSWER[name]):
            hint = f"options.{name}" if name in options else WAYS_OUT.get(name)
            raise NotServed(f"this server does not do {where!r} here", param=where, hint=hint)
        return
    is_harmless = name in HARMLESS or name in AT_START or is_of_message
    found = image_in(value, where) if is_harmless else misplaced_image(name, value, where)
    if found is not None:
        raise NotServed(f"there is an image in {found!r}, where none is read", param=found, hint=_IMAGES_GO)
    if value in (None, "", [], {}) or (is_harmless and name not in AT_START):
        return
    if name in AT_START:
        _tell_once(f"{name!r} is settled where the server is started; a request's is passed over", logging.INFO)
        return
    meant = _field_meant(name, (*read, *CHANGES_ANSWER)) if where.count(".") == where.startswith("options.") else None
    if meant is not None:
        raise NotServed(f"there is no field {where!r}", param=where, hint=f"{meant}?")
    _tell_once(f"a field that is not known is passed over: {name[:60]!r}", logging.WARNING)


def _asks_for_something(value: Any, nothing: tuple[Any, ...]) -> bool:
    return value is not None and value not in ("", [], {}) and value not in nothing


def _field_meant(name: str, known: Collection[str]) -> str | None:
    """The field whose name is spelt nearly so."""
    plainly = {_plain(other): other for other in known}
    long = [other for other in plainly if len(other) >= _LEAST_LETTERS]
    plain = _plain(name[:60])
    if plain in plainly or len(plain) < _LEAST_LETTERS:
        return plainly.get(plain)
    near = difflib.get_close_matches(plain, long, 1, _SURELY_MEANT)
    return plainly[near[0]] if near else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _tell_once(sentence: str, level: int) -> None:
    if sentence not in _told and len(_told) < _MAX_TOLD:
        _told.add(sentence)
        _log.log(level, "%s", sentence)
