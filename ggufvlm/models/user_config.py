"""The user's ``config.toml``: the model that is asked where none is named, and presets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ggufvlm.errors import OutputError, UsageError
from ggufvlm.files import replacing_durably
from ggufvlm.models.registry import config_dir
from ggufvlm.models.toml_file import check_keys, parse_toml, read_toml_text

_KEYS = ("model", "presets")
_MODEL_LINE = re.compile(r"[ \t]*model[ \t]*=.*\n?")


def config_path() -> Path:
    """Where the file lies, if there is one."""
    return config_dir() / "config.toml"


def read_config() -> dict[str, Any]:
    """What the file says; nothing if there is none.

    Raises:
        UsageError: it cannot be read, or has a key that nobody knows.
    """
    path = config_path()
    return _parse(read_toml_text(path), path) if path.is_file() else {}


def configured_model() -> str | None:
    """The model that the file names.

    Raises:
        UsageError: the file is wrong.
    """
    model = read_config().get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise UsageError(f'{config_path()}: model must be a name in quotes, such as "qwen2-vl-2b"')
    return model


def configure_model(name: str | None) -> Path:
    """Write the name of a model into the file, or take it out; all else in it stays as it is.

    Returns:
        The file.

    Raises:
        UsageError: the file is wrong, or written so that its line of the model cannot be told.
        OutputError: it cannot be written.
    """
    path = config_path()
    before = read_toml_text(path) if path.is_file() else ""
    wanted = {key: value for key, value in _parse(before, path).items() if key != "model"}
    line = "" if name is None else f"model = {json.dumps(name, ensure_ascii=False)}\n"
    head, tables = re.fullmatch(r"(.*?)((?:^[ \t]*\[.*)?)", before, re.DOTALL | re.MULTILINE).groups()  # type: ignore[union-attr]
    after = line + _MODEL_LINE.sub("", head, count=1) + tables
    if _parse(after, path) != ({**wanted, "model": name} if name is not None else wanted):
        raise UsageError(f"{path}: its line of the model cannot be told from others", hint=f"by hand: {line.strip()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_durably(path.resolve()) as file:
            file.write(after.encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _parse(text: str, path: Path) -> dict[str, Any]:
    tables = parse_toml(text, path)
    check_keys(tables, _KEYS, str(path))
    return tables
