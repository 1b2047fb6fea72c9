"""Ollama's ``options`` -> settings of sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ggufvlm.config import SamplingSettings
from ggufvlm.errors import UsageError
from ggufvlm.server.ollama.body import number_of, texts_of, whole_number_of
from ggufvlm.server.unread_fields import refuse_unread

# Names and meanings as in Ollama's api/types.go. Others, its former ones among them, go by the rule for all routes.
_NUMBERS: dict[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_WHOLE_NUMBERS: dict[str, tuple[str, Callable[[int], int | None]]] = {
    "top_k": ("top_k", lambda value: max(value, 0)),
    "num_predict": ("max_tokens", lambda value: value if value > 0 else -1),  # -1: no limit, -2: the whole context
    "seed": ("seed", lambda value: value if value >= 0 else None),
    "repeat_last_n": ("penalty_last_n", lambda value: max(value, -1)),
}


OPTIONS = frozenset((*_NUMBERS, *_WHOLE_NUMBERS, "stop", "num_ctx"))
"""Names of those that are read."""


def settings_of(options: Mapping[str, Any]) -> SamplingSettings:
    """The settings that a request's options ask for; null asks for nothing.

    Raises:
        UsageError: a value of the wrong type.
        NotServed: an option that would change the answer and that this server cannot honour.
    """
    refuse_unread(options, "options", read=OPTIONS)
    settings: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            settings.update(_setting(name, value))
    return SamplingSettings(**settings)  # type: ignore[typeddict-item, no-any-return]  # the names are those of the tables above


def _setting(name: str, value: Any) -> dict[str, Any]:
    if name in _NUMBERS:
        return {_NUMBERS[name]: number_of(value, name)}
    if name in _WHOLE_NUMBERS:
        ours, convert = _WHOLE_NUMBERS[name]
        return {ours: convert(whole_number_of(value, name))}
    if name == "stop":
        return {"stop": texts_of(value, name)}
    if name == "num_ctx":
        _check_context(whole_number_of(value, name))
    return {}


def _check_context(n_ctx: int) -> None:
    # Nothing is to be done: the context grows with the dialogue, as far as the model and the server allow, and what
    # does not fit is refused. Ollama too takes a number above the model's own for the model's.
    if n_ctx < 1:
        raise UsageError('"num_ctx" must be above 0')
