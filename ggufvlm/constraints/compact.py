"""JSON without white space: models are let to write it as they were trained to, and programs get it without."""

from __future__ import annotations

import re

_STRING_OR_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


def compact_json(text: str) -> str:
    """JSON text without the white space between its tokens; strings, numbers and the order of keys stay as written."""
    return _STRING_OR_SPACE.sub(lambda found: found[1] or "", text)
