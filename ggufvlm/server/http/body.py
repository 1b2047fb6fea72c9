"""How much of a request is taken in: bytes of its body, seconds for it, requests at a time."""

from __future__ import annotations

import asyncio
import contextlib
import math

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ggufvlm.server.http.errors_json import fault_response
from ggufvlm.server.http.faults import Fault

_SECONDS_FOR_BODY = 60.0
_SECONDS_TO_DRAIN = 5.0
_CLOSE = {"Connection": "close"}


class BodyLimit:
    """Reads no more of a body than is allowed, whether its length was announced or not.

    Args:
        limit: in bytes.
        n_at_a_time: requests with a body that are in flight at a time; one more is refused before it is read.
    """

    def __init__(self, app: ASGIApp, limit: int, n_at_a_time: int) -> None:
        self._app = app
        self.limit = limit
        self._n_at_a_time = n_at_a_time
        self._n_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if self._n_open >= self._n_at_a_time:
            message, headers = "too many requests at a time", {"Retry-After": "2", **_CLOSE}
            fault = Fault(status=429, message=message, kind="rate_limit_error", code="queue_full", headers=headers)
            await fault_response(fault, scope["path"])(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self.limit:
            await self.drain(receive)
            await fault_response(self.too_large(), scope["path"])(scope, receive, send)
            return
        self._n_open += 1
        try:
            await self._app(scope, _Counted(self, receive), send)
        finally:
            self._n_open -= 1

    def too_large(self) -> Fault:
        message = f"the body is larger than this server's limit of {self.limit} bytes"
        return Fault(status=413, message=message, code="body_too_large", headers=_CLOSE)

    async def drain(self, receive: Receive) -> None:
        """Let the rest of a body go by, for a while: a client that still sends does not hear the answer."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_skip(receive), _SECONDS_TO_DRAIN)


class _Counted:
    """Receives for the application, and counts."""

    def __init__(self, owner: BodyLimit, receive: Receive) -> None:
        self._owner = owner
        self._receive = receive
        self._left = owner.limit
        self._is_whole = False
        self._deadline = math.inf

    async def __call__(self) -> Message:
        """Raises: HTTPException, too large or too slow."""
        if self._is_whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._deadline = min(self._deadline, loop.time() + _SECONDS_FOR_BODY)
        try:
            message = await asyncio.wait_for(self._receive(), self._deadline - loop.time())
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the body took longer than {_SECONDS_FOR_BODY:g} s", _CLOSE) from None
        self._left -= len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._left < 0:
            if not self._is_whole:
                await self._owner.drain(self._receive)
            fault = self._owner.too_large()
            raise HTTPException(fault.status, fault.message, fault.headers)
        return message


async def _skip(receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass
