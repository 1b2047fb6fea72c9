"""Ollama's ``options`` -> settings of sampling. Each option is honoured, refused, or unknown to Ollama too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ggufvlm.config import SamplingSettings
from ggufvlm.errors import UsageError
from ggufvlm.server.contract import NotServed
from ggufvlm.server.ollama.body import number_of, texts_of, whole_number_of

_AT_START = "it is set where the server is started"
_REFUSED = {
    "num_batch": _AT_START,
    "num_gpu": _AT_START,
    "main_gpu": _AT_START,
    "num_thread": _AT_START,
    "use_mmap": _AT_START,
    "num_keep": "the context is never shifted",
}
# Names and meanings as in Ollama's api/types.go. Others, its former ones among them (mirostat, tfs_z, numa, ...),
# Ollama passes over with a line in its log.
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


def settings_of(options: Mapping[str, Any]) -> SamplingSettings:
    """The settings that a request's options ask for; null asks for nothing.

    Raises:
        UsageError: a value of the wrong type.
        NotServed: an option that Ollama would honour and this server cannot.
    """
    settings: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            settings.update(_setting(name, value))
    return SamplingSettings(**settings)  # type: ignore[typeddict-item, no-any-return]  # the names are those of the tables above


def _setting(name: str, value: Any) -> dict[str, Any]:
    if name in _REFUSED:
        raise NotServed(f'option "{name}" is not served: {_REFUSED[name]}', param=name)
    if name in _NUMBERS:
        return {_NUMBERS[name]: number_of(value, name)}
    if name in _WHOLE_NUMBERS:
        ours, convert = _WHOLE_NUMBERS[name]
        return {ours: convert(whole_number_of(value, name))}
    if name == "stop":
        return {"stop": texts_of(value, name)}
    if name == "num_ctx":
        _check_context(whole_number_of(value, name))
    if name == "typical_p" and number_of(value, name) != 1:
        raise NotServed('option "typical_p" is not served: use top_p or min_p', param=name)
    return {}


def _check_context(n_ctx: int) -> None:
    # Nothing is to be done: the context grows with the dialogue, as far as the model and the server allow, and what
    # does not fit is refused. Ollama too takes a number above the model's own for the model's.
    if n_ctx < 1:
        raise UsageError('"num_ctx" must be above 0')
