"""The usual tasks by name. The user's own stand in ``[presets.NAME]`` of ``config.toml``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ggufvlm.errors import UsageError
from ggufvlm.registry import config_dir


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A task.

    Attributes:
        prompt: may have fields, see :mod:`ggufvlm.batch.templates`.
        system: a system message.
        max_tokens: longest answer in tokens.
        temperature: ``None`` leaves it to the model.
    """

    prompt: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None


PRESETS = {
    "caption": Preset(prompt="Describe this image in one sentence.", max_tokens=80),
    "detailed": Preset(
        prompt="Describe this image in detail: what it shows, where things are, their colours, and any text in it.",
        max_tokens=512,
    ),
    "alt": Preset(
        prompt="Write alternative text for this image, for people who cannot see it: one or two plain sentences, "
        'at most 125 characters, without "image of".',
        max_tokens=80,
    ),
    "tags": Preset(
        prompt="List ten to twenty tags for this image: lower case, separated by commas, nothing else.", max_tokens=120
    ),
    "ocr": Preset(
        prompt="Transcribe all text in this image exactly as it is written, line by line. Write nothing else.",
        max_tokens=2048,
    ),
}


def find_preset(name: str) -> Preset:
    """A task by its name; the user's own come first.

    Raises:
        UsageError: there is none, or the user's file is wrong.
    """
    presets = {**PRESETS, **_users()}
    if name not in presets:
        raise UsageError(f"no preset {name!r}", hint=f"there are: {', '.join(sorted(presets))}")
    return presets[name]


def _users() -> dict[str, Preset]:
    path = config_dir() / "config.toml"
    if not path.is_file():
        return {}
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tables = toml.loads(path.read_text(encoding="utf-8")).get("presets", {})
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not TOML
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: presets must be tables: [presets.NAME]")
    return {name: _read(table, f"{path}: [presets.{name}]") for name, table in tables.items()}


_KINDS: dict[str, tuple[type, ...]] = {
    "prompt": (str,),
    "system": (str,),
    "max_tokens": (int,),
    "temperature": (int, float),
}


def _read(table: Any, where: str) -> Preset:
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} must be a table")
    known = {item.name for item in fields(Preset)}
    base = PRESETS.get(where.rpartition(".")[2].removesuffix("]"))
    given: dict[str, Any] = {"prompt": base.prompt, "max_tokens": base.max_tokens} if base else {}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}", hint=f"known: {', '.join(sorted(known))}")
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise UsageError(f"{where}: {key} must be {'text' if key in ('prompt', 'system') else 'a number'}")
        given[key] = value
    if "prompt" not in given:
        raise UsageError(f"{where}: it has no prompt")
    return Preset(**given)
