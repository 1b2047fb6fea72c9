"""How much of a request is taken in: bytes of its body, seconds for it, requests at a time."""

from __future__ import annotations

import asyncio
import contextlib
import math

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ggufvlm.server.http.errors_json import Refusal, fault_response
from ggufvlm.server.http.faults import Fault

_SECONDS_FOR_BODY = 60.0
_SECONDS_TO_DRAIN = 5.0
_SECONDS_UNDISTURBED = 5.0
_CLOSE = {"Connection": "close"}


class BodyLimit:
    """Reads no more of a body than is allowed, whether its length was announced or not.

    Args:
        limit: in bytes.
        n_at_a_time: requests with a body that are in flight at a time. One more is refused before it is read, unless a
            body has been coming for some seconds: that one is given up, so that slow ones keep nobody out.
    """

    def __init__(self, app: ASGIApp, limit: int, n_at_a_time: int) -> None:
        self._app = app
        self.limit = limit
        self._n_at_a_time = n_at_a_time
        self._n_open = 0
        self._coming: dict[_Counted, None] = {}  # in the order in which they began

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if self._n_open >= self._n_at_a_time and not self._give_up_oldest():
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
        body = _Counted(self, receive)
        self._coming[body] = None
        try:
            await self._app(scope, body, send)
        finally:
            self._n_open -= 1
            self.note_whole(body)

    def note_whole(self, body: _Counted) -> None:
        """All of a body is there, or nobody wants the rest."""
        self._coming.pop(body, None)

    def _give_up_oldest(self) -> bool:
        """End the request whose body has been coming for longest; False if none has been for long."""
        oldest = next(iter(self._coming), None)
        if oldest is None or asyncio.get_running_loop().time() - oldest.began < _SECONDS_UNDISTURBED:
            return False
        self.note_whole(oldest)
        oldest.given_up.set()
        return True

    def too_large(self) -> Fault:
        message = f"the body is larger than this server's limit of {self.limit} bytes"
        hint = "smaller images, or ggufvlm serve --max-body"
        return Fault(status=413, message=message, code="body_too_large", headers=_CLOSE, hint=hint)

    async def drain(self, receive: Receive) -> None:
        """Let the rest of a body go by, for a while: a client that still sends does not hear the answer."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_skip(receive), _SECONDS_TO_DRAIN)


class _Counted:
    """Receives for the application, and counts.

    Attributes:
        began: when it was told that a body comes, by the event loop's clock.
        given_up: set to end it.
    """

    def __init__(self, owner: BodyLimit, receive: Receive) -> None:
        self._owner = owner
        self._receive = receive
        self._left = owner.limit
        self._is_whole = False
        self._deadline = math.inf
        self.began = asyncio.get_running_loop().time()
        self.given_up = asyncio.Event()

    async def __call__(self) -> Message:
        """Raises: HTTPException, too large, too slow, or others want its place."""
        if self._is_whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._deadline = min(self._deadline, loop.time() + _SECONDS_FOR_BODY)
        try:
            message = await self._next(self._deadline - loop.time())
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the body took longer than {_SECONDS_FOR_BODY:g} s", _CLOSE) from None
        self._left -= len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._is_whole:
            self._owner.note_whole(self)
        if self._left < 0:
            if not self._is_whole:
                await self._owner.drain(self._receive)
            raise Refusal(self._owner.too_large())
        return message

    async def _next(self, seconds: float) -> Message:
        """Raises: HTTPException, given up; TimeoutError."""
        receiving = asyncio.ensure_future(self._receive())
        giving_up = asyncio.ensure_future(self.given_up.wait())
        try:
            await asyncio.wait((receiving, giving_up), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
            if giving_up.done():
                raise HTTPException(503, "the body came too slowly, and others wait", {"Retry-After": "2", **_CLOSE})
            raise asyncio.TimeoutError
        finally:
            receiving.cancel()
            giving_up.cancel()


async def _skip(receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass
