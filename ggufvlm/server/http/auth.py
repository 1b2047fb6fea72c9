"""Who may ask: the Host and Origin of a request, and its key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ggufvlm.server.http.errors_json import fault_response
from ggufvlm.server.http.faults import Fault

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_OPEN_PATHS = ("/health", "/docs", "/openapi.json")


class HostGuard:
    """Refuses names that are not this server's, and pages of other sites.

    A web page that a user of this machine happens to look at could reach a server on loopback: through a name that
    its owner lets point there (DNS rebinding), which shows in Host, or blindly, which shows in Origin.

    Args:
        hosts: names under which the server may be asked; ``None`` for any.
        origins: other sites that may ask; ``*`` for any.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset((*_LOOPBACK_NAMES, *map(str.lower, hosts)))
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            fault = self._fault(Headers(scope=scope))
            if fault is not None:
                await fault_response(fault, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _fault(self, headers: Headers) -> Fault | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            return Fault(status=403, message="this server is not asked under that name", code="foreign_host")
        if origin is None or "*" in self._origins or origin in self._origins:
            return None
        if urlsplit(origin).netloc.lower() == host.lower() != "":
            return None
        return Fault(status=403, message="pages of other sites may not ask this server", code="foreign_origin")


def _name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


class KeyGuard:
    """Wants ``Authorization: Bearer KEY`` for all that is not public.

    Args:
        key: the key.
        open_paths: more paths that need none; those that end with ``/`` stand for all below them.
    """

    def __init__(self, app: ASGIApp, key: str, open_paths: Iterable[str] = ()) -> None:
        self._app = app
        self._digest = _digest(key)
        self._open = (*_OPEN_PATHS, *open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["path"]) and not self._has_key(Headers(scope=scope)):
            fault = Fault(
                status=401,
                message="a key is needed: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await fault_response(fault, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return any(
            path == known or (known.endswith("/") and known != "/" and path.startswith(known)) for known in self._open
        )

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), self._digest)


def _digest(key: str) -> bytes:
    """Keys of any length become equally long, so that comparing them takes always the same time."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
