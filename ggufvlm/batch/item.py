"""One input of a run, and how its name is written down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ggufvlm.errors import GGUFVLMError

Source: TypeAlias = Path | str | bytes
"""A file; a URL or data URI; the bytes of a picture file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What is to become one row of the output.

    Attributes:
        id: tells it from all others of the run: the user's own, or its name; a second one of that name gets ``#2``.
        path: the name of its picture, for people; ``None`` for bytes.
        sources: its pictures.
        fields: the columns of its row, for prompt templates.
        prompt, system: its own, in place of the run's.
        error: why it cannot be asked, if that is known before its picture is read.
    """

    id: str
    path: str | None
    sources: tuple[Source, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    system: str | None = None
    error: GGUFVLMError | None = None


def shown(path: str | os.PathLike[str]) -> str:
    r"""A file name as valid Unicode: bytes that are no UTF-8 are written ``\xff``."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # lone surrogates that never were bytes
        return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def clean(text: str) -> str:
    """Text as valid Unicode: what is not gets the replacement character."""
    return text.encode("utf-8", "surrogateescape" if _has_escapes(text) else "replace").decode("utf-8", "replace")


def _has_escapes(text: str) -> bool:
    return all("\udc80" <= character <= "\udcff" for character in text if "\ud800" <= character <= "\udfff")
