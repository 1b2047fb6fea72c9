"""What the metadata of all formats has in common."""

from __future__ import annotations


class Damaged(ValueError):  # noqa: N818 - reads as what it is
    """Metadata that cannot be read, or has no room for more. One line without the file's name."""


def no_field(kind: str, field: str) -> Damaged:
    """A format that has no place for this field."""
    return Damaged(f"{kind} files have no place for {field.upper()}")
