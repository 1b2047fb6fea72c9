"""Names of sources that fit on one line of a message."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

_LONGEST = 300


def label(text: str) -> str:
    """``text`` with control characters replaced and its middle left out if it is very long."""
    half = _LONGEST // 2
    short = text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)


def url_label(url: str) -> str:
    """A URL as it may appear in messages and results: without user name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return label(url)
    host = parts.netloc.rpartition("@")[2]
    return label(urlunsplit(parts._replace(netloc=host)))
