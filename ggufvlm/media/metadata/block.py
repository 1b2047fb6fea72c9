"""What the metadata of all formats has in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Said: TypeAlias = str | tuple[str, ...]
"""What is said about an image: a description, or keywords."""


class Damaged(ValueError):  # noqa: N818 - reads as what it is
    """Metadata that cannot be read, or has no room for more. One line without the file's name."""


def no_field(kind: str, field: str) -> Damaged:
    """A format that has no place for this field."""
    return Damaged(f"{kind} files have no place for {field.upper()}")


def not_among(words: Iterable[str], known: Iterable[str]) -> list[str]:
    """The keywords that are not there yet, whatever their case."""
    there = {word.strip().casefold() for word in known}
    return [word for word in words if word.strip().casefold() not in there]
