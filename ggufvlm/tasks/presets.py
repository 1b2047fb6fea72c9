"""The usual tasks by name. The user's own stand in ``[presets.NAME]`` of ``config.toml``.

::

    [presets.receipt]
    prompt = "Read this receipt."
    schema = "shop, total float, currency: three letters"    # or choices, regex, grammar
    max_tokens = 200
    temperature = 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ggufvlm.config import PLAIN_SETTINGS, SamplingParams, SamplingSettings, kind_of
from ggufvlm.errors import GGUFVLMError, UsageError
from ggufvlm.models.user_config import config_path, read_config

if TYPE_CHECKING:
    from ggufvlm.constraints.constraint import Constraint


_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A task.

    Attributes:
        prompt: may have fields, see :mod:`ggufvlm.batch.inputs.templates`.
        system: a system message.
        settings: how the answer is made, with the constraint if it has one; the rest is left to the model.
    """

    prompt: str
    system: str | None = None
    settings: SamplingSettings = field(default_factory=SamplingSettings)


PRESETS = {
    "caption": Preset(prompt="Describe this image in one sentence.", settings={"max_tokens": 80}),
    "detailed": Preset(
        prompt="Describe this image in detail: what it shows, where things are, their colours, and any text in it.",
        settings={"max_tokens": 512},
    ),
    "alt": Preset(
        prompt="Write alternative text for this image, for people who cannot see it: one or two plain sentences, "
        'at most 125 characters, without "image of".',
        settings={"max_tokens": 80},
    ),
    "tags": Preset(
        prompt="List ten to twenty tags for this image: lower case, separated by commas, nothing else.",
        settings={"max_tokens": 120},
    ),
    "ocr": Preset(
        prompt="Transcribe all text in this image exactly as it is written, line by line. Write nothing else.",
        settings={"max_tokens": 2048},
    ),
}


def find_preset(name: str) -> Preset:
    """A task by its name; the user's own come first.

    Raises:
        UsageError: there is none, or the user's file is wrong.
        InputError: a schema or grammar file that the preset names cannot be read.
    """
    path, tables = config_path(), _tables()
    if name in tables:
        return _PresetTable(tables[name], path, name).read()
    if name not in PRESETS:
        close = get_close_matches(name, preset_names(), n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"no preset {name!r}", hint=f"{meant}there are: {', '.join(preset_names())}")
    return PRESETS[name]


def preset_names() -> list[str]:
    """The names of all tasks, the user's own too.

    Raises:
        UsageError: the user's file is wrong.
    """
    return sorted({*PRESETS, *_tables()})


def _tables() -> dict[str, Any]:
    tables = read_config().get("presets", {})
    if not isinstance(tables, dict):
        raise UsageError(f"{config_path()}: presets must be tables: [presets.NAME]")
    return tables


_TEXT, _LIST = "text", "a list of texts"
_WANTED = {bool: "true or false", int: "a whole number", float: "a number", tuple: _LIST}
_KEYS = {"prompt": _TEXT, "system": _TEXT, **{name: _WANTED[kind_of(name)] for name in PLAIN_SETTINGS}}
_SHAPES = {
    "schema": ((str, Mapping), "text or a table"),
    "choices": ((list,), _LIST),
    "regex": ((str,), _TEXT),
    "grammar": ((str,), "the name of a file, or text of several lines"),
}


class _PresetTable:
    """A table of the user's file."""

    def __init__(self, table: Any, path: Path, name: str) -> None:
        self._table, self._folder, self._name = table, path.parent, name
        self._where = f"{path}: [presets.{name}]"

    def read(self) -> Preset:
        """The preset, with what it leaves open taken from a built-in one of the same name."""
        if not isinstance(self._table, Mapping):
            raise self._wrong("must be a table")
        texts: dict[str, Any] = {}
        settings: Any = {}
        for key, value in self._table.items():
            if key not in _KEYS and key not in _SHAPES:
                known = ", ".join(sorted([*_KEYS, *_SHAPES]))
                raise UsageError(f"{self._where}: unknown key {key!r}", hint=f"known: {known}")
            if key in _KEYS:
                self._require(_is(value, _KEYS[key]), key, _KEYS[key])
                (texts if _KEYS[key] == _TEXT else settings)[key] = tuple(value) if _KEYS[key] == _LIST else value
        base = PRESETS.get(self._name)
        if base is None and "prompt" not in texts:
            raise self._wrong("it has no prompt")
        constraint = self._constraint()
        if constraint is not None:
            settings["constraint"] = constraint
        settings = {**(base.settings if base else {}), **settings}
        self._told("", lambda: SamplingParams(**settings))
        return replace(base or Preset(prompt=""), **texts, settings=settings)

    def _constraint(self) -> Constraint | None:
        shapes = [key for key in _SHAPES if key in self._table]
        if not shapes:
            return None
        if len(shapes) > 1:
            raise self._wrong(f"{shapes[0]} and {shapes[1]}: an answer can have one shape")
        key, value = shapes[0], self._table[shapes[0]]
        kinds, wanted = _SHAPES[key]
        self._require(isinstance(value, kinds) and (key != "choices" or _is(value, _LIST)), key, wanted)
        return self._told(f"{key}: ", lambda: _shaped(key, value, self._folder))

    def _told(self, what: str, make: Callable[[], _T]) -> _T:
        """What ``make`` gives; its errors name the preset."""
        try:
            return make()
        except GGUFVLMError as error:
            raise type(error)(f"{self._where}: {what}{error}", hint=error.hint) from error

    def _require(self, condition: bool, key: str, wanted: str) -> None:
        if not condition:
            raise self._wrong(f"{key} must be {wanted}")

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"{self._where}: {what}")


def _shaped(key: str, value: Any, folder: Path) -> Constraint:
    from ggufvlm.constraints.constraint import Constraint
    from ggufvlm.constraints.given import grammar_given, schema_given

    if key == "choices":
        return Constraint.choices(value)
    if key == "regex":
        return Constraint.regex(value)
    if key == "grammar":
        return grammar_given(value, folder)
    return schema_given(value, folder) if isinstance(value, str) else Constraint.from_schema(value)


def _is(value: Any, wanted: str) -> bool:
    if wanted == _LIST:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if wanted == _TEXT:
        return isinstance(value, str)
    if wanted == _WANTED[bool]:
        return isinstance(value, bool)
    return isinstance(value, int if wanted == _WANTED[int] else (int, float)) and not isinstance(value, bool)
