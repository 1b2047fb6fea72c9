"""TOML files of the user: read, and told by their names if something in them is wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ggufvlm.errors import UsageError

_LARGEST = 4_000_000  # bytes: what is larger are no settings


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        UsageError: it cannot be read, is no TOML or not UTF-8.
    """
    return parse_toml(read_toml_text(path), path)


def read_toml_text(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise UsageError(f"{path}: larger than {_LARGEST // 1_000_000} MB: these are no settings")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The tables in a text.

    Raises:
        UsageError: it is no TOML; names the file.
    """
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tables: dict[str, Any] = toml.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    return tables


def as_table(value: object, where: str) -> Mapping[str, object]:
    """``value``, if it is a TOML table."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: must be a table, not {value!r}")
    return value


def check_keys(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Refuse a table with a key that nobody knows.

    Args:
        table: a TOML table.
        known: the keys that it may have.
        where: begins the message: the file and the table's name.

    Raises:
        UsageError: names the first unknown key.
    """
    for key in table:
        if key not in known:
            close = get_close_matches(key, sorted(known), n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"{where}: unknown key {key!r}", hint=f"{meant}keys: {', '.join(sorted(known))}")
