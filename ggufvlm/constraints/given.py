"""Constraints as users write them, in options and in configuration files: in place, or as the name of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ggufvlm.constraints.constraint import Constraint
from ggufvlm.errors import UsageError
from ggufvlm.files import expanded, read_text


def schema_given(value: str, folder: Path | None = None) -> Constraint:
    """A schema: JSON, the name of a file with JSON or shorthand, or llm's shorthand.

    Args:
        value: it is a file if there is one of that name, or behind ``@``.
        folder: where relative names begin; None is the working directory.

    Raises:
        UsageError: not a schema, or it cannot be enforced.
        InputError: a file that cannot be read; also for a name such as ``a.json``, which is no shorthand.
    """
    if value.lstrip().startswith("{"):
        return Constraint.from_schema(value)
    path = _path(value.removeprefix("@"), folder)
    if value.startswith("@") or re.fullmatch(r"[^\s,:]+\.\w+", value) or _is_file(path):
        return _from_file(path, Constraint.from_schema)
    return Constraint.from_schema(value)


def choices_given(value: str | Sequence[str], folder: Path | None = None) -> Constraint:
    """Choices: ``a,b,c``, a list, or ``@FILE`` with one a line.

    Raises:
        UsageError: none, an empty one, or one twice.
        InputError: the file cannot be read.
    """
    if not isinstance(value, str):
        return Constraint.choices(value)
    if value.startswith("@"):
        return _from_file(
            _path(value[1:], folder),
            lambda text: Constraint.choices([line for line in text.splitlines() if line.strip()]),
        )
    return Constraint.choices([choice.strip() for choice in value.split(",")])


def grammar_given(value: str, folder: Path | None = None) -> Constraint:
    """A grammar: the name of a file, with or without ``@``; or its text, if that has several lines.

    Raises:
        UsageError: the grammar is wrong.
        InputError: the file cannot be read.
    """
    if "\n" in value:
        return _grammar(value)
    return _from_file(_path(value.removeprefix("@"), folder), _grammar)


def _path(name: str, folder: Path | None) -> Path:
    return (folder or Path()) / expanded(name)


def _grammar(text: str) -> Constraint:
    is_gbnf = re.search(r"^[ \t]*[\w-]+[ \t]*::=", text, re.MULTILINE) is not None
    return Constraint.gbnf(text) if is_gbnf else Constraint.lark(text)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a shorthand longer than names may be
        return False


def _from_file(path: Path, make: Callable[[str], Constraint]) -> Constraint:
    text = read_text(path)
    try:
        return make(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error}", hint=error.hint) from error
