"""An answer that is a list of tags -> keywords, as photo libraries keep them."""

from __future__ import annotations

import json
import re

_MOST = 100
_LONGEST = 64  # characters, and bytes in IPTC
_BULLET = re.compile(r"^(?:[-*•·–]+|\d{1,3}[.)])\s+")
_AROUND = " \t\"'`*#.[]“”„"


def keywords_in(answer: str) -> tuple[str, ...]:
    """The tags of an answer, each once: separated by commas, semicolons or lines, or a JSON list of texts.

    >>> keywords_in("cat, Red sofa,cat\\n- window.")
    ('cat', 'Red sofa', 'window')
    """
    found = [_BULLET.sub("", piece.strip()).strip(_AROUND) for piece in _pieces(answer)]
    once: dict[str, str] = {}
    for word in found:
        if word and len(word) <= _LONGEST:
            once.setdefault(word.casefold(), word)
    return tuple(once.values())[:_MOST]


def _pieces(answer: str) -> list[str]:
    try:
        listed = json.loads(answer)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list) and all(isinstance(word, str) for word in listed):
        return listed
    return re.split(r"[,;\n，、]", answer)
