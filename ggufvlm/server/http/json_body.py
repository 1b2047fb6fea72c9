"""A request's body: JSON, whatever its content type says, since ``curl -d`` calls it a form."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ggufvlm.errors import UsageError

_HALF = re.compile("[\ud800-\udfff]")


def read_object(data: bytes) -> dict[str, Any]:
    """The object in a body. Half a surrogate pair, which is no character, becomes U+FFFD, as in Ollama.

    Raises:
        UsageError: it is no JSON object.
    """
    if not data:
        raise UsageError("missing request body")
    try:
        body = _whole_texts(json.loads(data, parse_constant=_refuse_constant))
    except json.JSONDecodeError as error:
        raise UsageError(f"the request's body is not valid JSON: {error}") from None
    except UnicodeDecodeError:
        raise UsageError("the request's body is not valid JSON: it is not UTF-8") from None
    except ValueError as error:  # a constant, or a number of thousands of digits
        raise UsageError(f"the request's body is not valid JSON: {error}") from None
    except RecursionError:
        raise UsageError("the request's body is not valid JSON: it is nested too deeply") from None
    if not isinstance(body, dict):
        raise UsageError("the request's body must be a JSON object")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def whole(text: str) -> str:
    """A text as UTF-8 can write it: names of files may hold halves, too."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def _whole_texts(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole_texts(item) for item in value]
    if isinstance(value, dict):
        return {_whole_texts(name): _whole_texts(item) for name, item in value.items()}
    return value
