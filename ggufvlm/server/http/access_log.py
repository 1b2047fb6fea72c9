"""One short line for each request, and its count. What was asked is not in it."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ggufvlm.server.http.hangup import ClientGone
from ggufvlm.server.metrics import Metrics

_log = logging.getLogger(__name__)

_QUIET = ("/health", "/metrics")
HUNG_UP = 499
"""Not a status that anybody receives: what nginx calls a client that left."""


class AccessLog:
    """Wraps the whole application. A client that hangs up is no error."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])  # of an HTTPStatus, which Python 3.10 writes by name
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientGone:
            status = HUNG_UP
        finally:
            self._note(scope, status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")  # as it was declared: paths would be endless
        self._metrics.requests.labels(route, str(status)).inc()
        if status == HUNG_UP:
            self._metrics.hangups.labels(route).inc()
        level = logging.DEBUG if route in _QUIET else logging.INFO
        path = scope["path"][:100].encode("unicode_escape").decode()
        _log.log(level, "%s %s %s %.2fs", scope["method"], path, status, seconds)
