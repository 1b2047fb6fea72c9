"""What the server's OpenAPI document says of Ollama's routes. Bodies are read by :mod:`ggufvlm.server.ollama.body`."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
ERROR: dict[str, Any] = {
    "description": "What is wrong, in one line.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
_IMAGES: dict[str, Any] = {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}
_NUMBERS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "of an earlier answer: the dialogue goes on behind it",
}
_COMMON: dict[str, Any] = {
    "model": _TEXT,
    "stream": {"type": "boolean", "default": True},
    "format": {"description": '"json", or a JSON Schema that the answer is forced to fit'},
    "options": {"type": "object", "additionalProperties": True},
    "keep_alive": {"description": 'such as "5m", or seconds; 0 unloads the model, -1 keeps it indefinitely'},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
}
MODEL: dict[str, Any] = {"type": "object", "properties": {"model": _TEXT}, "required": ["model"]}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": _TEXT, "images": _IMAGES},
    "required": ["role"],
}
CHAT: dict[str, Any] = {
    "type": "object",
    "properties": {**_COMMON, "messages": {"type": "array", "items": _MESSAGE}},
    "required": ["model"],
}
GENERATE: dict[str, Any] = {
    "type": "object",
    "properties": {
        **_COMMON,
        "prompt": _TEXT,
        "system": _TEXT,
        "images": _IMAGES,
        "raw": {"type": "boolean"},
        "context": _NUMBERS,
    },
    "required": ["model"],
}
