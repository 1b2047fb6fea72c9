"""Commands of a chat about how answers are made."""

from __future__ import annotations

from typing import Any, cast

from ggufvlm.cli.chat.layout import say_rows
from ggufvlm.cli.chat.session import ChatSession
from ggufvlm.cli.options.stdin_text import STDIN
from ggufvlm.config import PLAIN_SETTINGS, SamplingSettings, kind_of, with_settings
from ggufvlm.errors import UsageError

ALIASES = {"temp": "temperature", "n": "max_tokens", "n_predict": "max_tokens", "num_predict": "max_tokens"}
DEFAULT = "default"
_FOR_PROGRAMS = ("logprobs", "show_special", "penalty_last_n")
_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def names() -> list[str]:
    """What a person may want to set; what only programs look at can be set too."""
    return [name for name in PLAIN_SETTINGS if name not in _FOR_PROGRAMS]


def set_value(session: ChatSession, rest: str) -> None:
    """``/set [KEY [VALUE]]``

    Raises:
        UsageError: an unknown key, or a value that makes no sense.
    """
    key, _, value = rest.partition(" ")
    if not key:
        _show(session, names())
        return
    name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
    if name not in PLAIN_SETTINGS:
        raise UsageError(f"unknown setting: {key}", hint=f"one of {', '.join(names())}")
    if value.strip():
        settings = dict(session.chat.settings)
        settings.pop(name, None)
        if value.strip() != DEFAULT:
            settings[name] = _parse(name, value.strip())
        with_settings(session.chat.vlm.sampling, cast("SamplingSettings", settings))  # refuses what makes no sense
        session.chat.settings = cast("SamplingSettings", settings)
    _show(session, [name])


def _parse(name: str, text: str) -> Any:
    wanted = kind_of(name)
    try:
        if name == "stop":
            return (text.strip("\"'").encode().decode("unicode_escape") if "\\" in text else text.strip("\"'"),)
        if wanted is bool:
            return _SWITCH[text.lower()]
        return float(text) if wanted is float else int(text)
    except (KeyError, ValueError) as error:
        kind = "on or off" if wanted is bool else "a number"
        raise UsageError(f"{name} takes {kind}, or {DEFAULT}; not {text!r}") from error


def _show(session: ChatSession, keys: list[str]) -> None:
    now = with_settings(session.chat.vlm.sampling, session.chat.settings)
    rows = [(key, _text(key, getattr(now, key)), "set here" if key in session.chat.settings else "") for key in keys]
    say_rows(rows)


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "none"
    if value is None:
        return "drawn for each answer" if key == "seed" else "none"
    return "no limit" if (key, value) == ("max_tokens", -1) else str(value)


def think(session: ChatSession, rest: str) -> None:
    """``/think [on|off|show|hide]``

    Raises:
        UsageError: another word.
    """
    if rest in ("on", "off"):
        session.chat.settings["think"] = rest == "on"
    elif rest in ("show", "hide"):
        session.shows_thoughts = rest == "show"
    elif rest:
        raise UsageError(f"/think takes on, off, show or hide, not {rest!r}")
    chosen = session.chat.settings.get("think")
    state = "as the model does by itself" if chosen is None else "on" if chosen else "off"
    session.show(f"thinking: {state}, {'shown' if session.shows_thoughts else 'not shown'}")


def system(session: ChatSession, rest: str) -> None:
    """``/system [TEXT | @FILE | off]``

    Raises:
        InputError: the file cannot be read.
    """
    from ggufvlm.cli.options.shared import text_or_file

    if rest == STDIN:
        raise UsageError(f"{STDIN}: messages come from stdin", hint="name a file: @FILE")
    if rest:
        session.chat.system = None if rest == "off" else text_or_file(rest)
        session.changed()
    session.show(f"system message: {session.chat.system or 'none'}")


def model(session: ChatSession, rest: str) -> None:
    """``/model [NAME]``

    Raises:
        ModelError, EngineError: it is unknown, or cannot be loaded; the old one stays.
    """
    if rest:
        session.switch(rest)
    session.show(f"model: {session.chat.vlm.files.name}")
