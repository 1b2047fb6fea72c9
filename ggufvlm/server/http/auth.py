"""Who may ask: those who have the key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ggufvlm.server.http.errors_json import fault_response
from ggufvlm.server.http.faults import Fault

_OPEN_PATHS = ("/health", "/docs", "/openapi.json")


class KeyGuard:
    """Wants ``Authorization: Bearer KEY``, or ``X-Api-Key: KEY``, for all that is not public.

    Args:
        key: the key.
        open_paths: more paths that need none; those that end with ``/`` stand for all below them.
    """

    def __init__(self, app: ASGIApp, key: str, open_paths: Iterable[str] = ()) -> None:
        self._app = app
        self._digest = _digest(key)
        self._open = (*_OPEN_PATHS, *open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] != "http" or is_among(scope["path"], self._open)
        if not is_open and not self._has_key(Headers(scope=scope)):
            fault = Fault(
                status=401,
                message="a key is needed: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await fault_response(fault, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = (bearer if scheme.lower() == "bearer" else "", headers.get("x-api-key", ""))
        # the second also beside a wrong first: some clients fill that with anything
        return any(hmac.compare_digest(_digest(key.strip()), self._digest) for key in given)


def is_among(path: str, paths: Iterable[str]) -> bool:
    """Whether a path is one of several; those that end with ``/`` stand for all below them, but for ``/`` itself."""
    return any(path == known or (known.endswith("/") and known != "/" and path.startswith(known)) for known in paths)


def _digest(key: str) -> bytes:
    """Keys of any length become equally long, so that comparing them takes always the same time."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
