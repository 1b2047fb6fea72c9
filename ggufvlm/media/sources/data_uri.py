"""``data:`` URIs (RFC 2397) -> bytes."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from ggufvlm.errors import ImageError

_HEAD = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<parameters>(;[^,;\s]*)*),", re.IGNORECASE)


def is_data_uri(text: str) -> bool:
    """Whether ``text`` starts like a data URI; ``data: what is this?`` does not."""
    return _HEAD.match(text) is not None


def data_uri_name(uri: str) -> str:
    """A short name for messages."""
    head = _HEAD.match(uri)
    return f"data:{((head['type'] if head else None) or '')[:60]};…"


def read_data_uri(uri: str) -> tuple[bytes, str]:
    """Decode a data URI: ``(its bytes, a short name for messages)``.

    Raises:
        ImageError: no data URI, or its base64 is damaged.
    """
    head = _HEAD.match(uri)
    if head is None:
        raise ImageError("data:…: not a data URI", hint="it looks like data:image/png;base64,iVBORw0...")
    name = data_uri_name(uri)
    body = unquote_to_bytes(uri[head.end() :])
    if not head["parameters"].lower().endswith(";base64"):
        return body, name
    try:
        # Line breaks are customary in long base64; everything else that is no base64 is damage.
        return base64.b64decode(b"".join(body.split()), validate=True), name
    except binascii.Error as error:
        raise ImageError(f"{name}: damaged base64 ({error})") from error
