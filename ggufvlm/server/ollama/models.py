"""Ollama's view of the server's models: ``/api/tags``, ``/api/show``, ``/api/ps``."""

from __future__ import annotations

from typing import Any

from ggufvlm.server.contract import ModelCard
from ggufvlm.server.ollama.reply import time_text

_NEVER_EXPIRES = "9999-12-31T23:59:59Z"


def tag_of(card: ModelCard) -> dict[str, Any]:
    """A model in the list of ``/api/tags``."""
    return {
        "name": card.name,
        "model": card.name,
        "modified_at": time_text(card.created),
        "size": card.size,
        "digest": card.digest,
        "details": _details(card),
    }


def running_of(card: ModelCard) -> dict[str, Any]:
    """A loaded model in the list of ``/api/ps``."""
    expires = _NEVER_EXPIRES if card.expires is None else time_text(card.expires)
    return {
        "name": card.name,
        "model": card.name,
        "size": card.size,
        "size_vram": round(card.size * card.on_gpu),
        "digest": card.digest,
        "details": _details(card),
        "expires_at": expires,
        "context_length": card.n_ctx,
    }


def description_of(card: ModelCard) -> dict[str, Any]:
    """A model as ``/api/show`` tells it."""
    architecture = card.architecture or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture}
    if card.parameters:
        info["general.parameter_count"] = card.parameters
    if card.n_ctx:
        info[f"{architecture}.context_length"] = card.n_ctx
    return {
        "modelfile": "",
        "parameters": "",
        "template": card.template,
        "details": _details(card),
        "model_info": info,
        "capabilities": ["completion", "vision"],
        "modified_at": time_text(card.created),
    }


def _details(card: ModelCard) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": card.architecture,
        "families": [card.architecture] if card.architecture else [],
        "parameter_size": _in_words(card.parameters),
        "quantization_level": card.quant,
    }


def _in_words(n_parameters: int) -> str:
    """A number of weights as Ollama writes it: ``2.2B``, ``494.03M``."""
    if not n_parameters:
        return ""
    if n_parameters >= 1e9:
        return f"{n_parameters / 1e9:.1f}B"
    return f"{n_parameters / 1e6:.2f}M" if n_parameters >= 1e6 else f"{n_parameters / 1e3:.2f}K"
