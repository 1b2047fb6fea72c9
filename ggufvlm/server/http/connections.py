"""Connections of clients: how many there may be, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ggufvlm.server.http.errors_json import fault_body
from ggufvlm.server.http.faults import Fault

SECONDS_FOR_HEADERS = 10.0

_MOST, _LEAST = 1000, 16
_OTHER_FILES = 100  # of the server's own
_RETRY = {"Retry-After": "2"}
_SLOW = Fault(status=408, message="the request took too long to come", code="request_timeout")
_CROWDED = Fault(
    status=503, message="too many connections", kind="server_error", code="too_many_connections", headers=_RETRY
)


def room_for_connections() -> int:
    """How many connections there may be at a time: each is an open file, and the system limits these."""
    if sys.platform == "win32":
        return _MOST
    import resource

    n_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if n_files == resource.RLIM_INFINITY else min(_MOST, max(_LEAST, n_files - _OTHER_FILES))


class Connections:
    """The connections of one server.

    One whose request is not there yet can be closed at any time. They are, the oldest first, where there are too many:
    whoever opens many without ever asking keeps nobody out. They are not counted by address, which all clients behind a
    proxy share.

    Args:
        most: connections at a time.
        seconds_for_headers: from the connection, or the end of the last response, to the end of a request's headers.
    """

    def __init__(self, *, most: int, seconds_for_headers: float = SECONDS_FOR_HEADERS) -> None:
        self._most = most
        self.seconds_for_headers = seconds_for_headers
        self._unasked: dict[Connection, None] = {}  # in the order in which they began to wait
        self._n_open = 0

    def protocol(self, **given: Any) -> Connection:
        """One more, as Uvicorn makes its own."""
        return Connection(self, **given)

    def add(self, connection: Connection) -> bool:
        """Count one more; False if there is no room for it."""
        self._n_open += 1
        if self._n_open > self._most:
            oldest = next(iter(self._unasked), None)
            if oldest is None:
                return False
            oldest.give_up(_CROWDED)
        return True

    def remove(self, connection: Connection) -> None:
        """One has ended."""
        self._n_open -= 1
        self._unasked.pop(connection, None)

    def note(self, connection: Connection, *, has_asked: bool) -> None:
        """Whether the server is at a request of this one, or waits for it."""
        if has_asked:
            self._unasked.pop(connection, None)
        else:
            self._unasked.setdefault(connection)


class Connection(H11Protocol):
    """Uvicorn's, with an end to waiting for a request, and its refusals in our form."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._is_refused = False
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        if self._all.add(self):
            self._wait_for_request()
        else:
            self.refuse(_CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_waiting()
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request, or of several."""
        if self._is_refused:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """A response was handed over; maybe the next request is there already."""
        self._wait_for_request()
        super().on_response_complete()
        if not self.cycle.response_complete:
            self._stop_waiting()

    def _wait_for_request(self) -> None:
        self._all.note(self, has_asked=False)
        if self._alarm is None:
            self._alarm = self.loop.call_later(self._all.seconds_for_headers, self.give_up, _SLOW)

    def _stop_waiting(self) -> None:
        self._all.note(self, has_asked=True)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def send_400_response(self, msg: str) -> None:
        """What was sent is no HTTP."""
        self.refuse(Fault(status=400, message=msg.removesuffix(".").lower(), code="invalid_http"))

    def give_up(self, fault: Fault) -> None:
        """Close it while its request is not there yet; a client that has not begun to ask expects no answer."""
        if self.conn.trailing_data[0]:
            self.refuse(fault)
        else:
            self._stop_waiting()
            self.transport.close()

    def refuse(self, fault: Fault) -> None:
        """Say why, where a response can still be sent, and close it."""
        self._stop_waiting()
        self._is_refused = True
        if not self.transport.is_closing():
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_response(fault))
            self.transport.close()


def _response(fault: Fault) -> bytes:
    """A response without a request: nobody knows yet which form its client would like."""
    body = json.dumps(fault_body(fault, ""))
    headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in {**headers, **(fault.headers or {})}.items()]
    return "\r\n".join([f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}", *lines, "", body]).encode()
