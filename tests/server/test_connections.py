"""Connections on which nobody asks, requests that never end, and what else keeps others out."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest

from ggufvlm.server.contract import Limits
from ggufvlm.server.http import body
from ggufvlm.server.http.connections import room_for_connections
from tests.support.running import Running, question, wait_until
from tests.support.small_server import SmallServer

MOST = 12
POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
BEGUN = b"GET / HTTP/1.1\r\nX: "


@pytest.fixture(scope="module")
def small() -> Iterator[SmallServer]:
    """A server without a model in memory that takes few connections and is patient."""
    with SmallServer(Limits(), api_key="secret", most=MOST, seconds_for_headers=600) as server:
        yield server


@pytest.fixture
def hurried() -> Iterator[SmallServer]:
    with SmallServer(Limits(), most=MOST, seconds_for_headers=0.2, n_at_a_time=2) as server:
        yield server


def connect(server: SmallServer, said: bytes = b"") -> socket.socket:
    address = httpx.URL(server.url)
    connection = socket.create_connection((address.host, address.port or 0), timeout=60)
    connection.sendall(said)
    return connection


def heard(connection: socket.socket) -> bytes:
    """All that the server says before it closes the connection."""
    said = b""
    while piece := connection.recv(65536):
        said += piece
    return said


def send_until_closed(connection: socket.socket, said: bytes) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(said)


def check_error(said: bytes, status: int, code: str) -> dict[str, Any]:
    head, _, content = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    error = json.loads(content)["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


@pytest.mark.parametrize(
    "said", [b"", BEGUN, b"POST /v1/models HTTP/1.1\r\n" * 3], ids=["nothing", "a bit", "nonsense"]
)
def test_connections_that_never_ask_keep_nobody_out(small: SmallServer, said: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(5 * MOST):
            stack.enter_context(connect(small, said))
            assert httpx.get(f"{small.url}/health", trust_env=False, timeout=60).status_code == 200


def test_the_oldest_is_closed_first_and_told_why(small: SmallServer) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(small, BEGUN)) for _ in range(MOST)]
        assert httpx.get(f"{small.url}/health", trust_env=False, timeout=60).status_code == 200
        check_error(heard(waiting[0]), 503, "too_many_connections")
        waiting[1].sendall(b"x\r\nHost: localhost\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n")
        assert heard(waiting[1]).startswith(b"HTTP/1.1 200 ")


def test_where_all_connections_are_at_a_request_one_more_is_refused(small: SmallServer) -> None:
    asked = POST + b"Authorization: Bearer secret\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(connect(small, asked + b"{"))
        wait_until(lambda: not small.connections._unasked and small.connections._n_open == MOST)
        refused = [heard(stack.enter_context(connect(small))) for _ in range(3)]
        check_error(refused[-1], 503, "too_many_connections")
        assert b"Retry-After: 2" in refused[-1]
    assert httpx.get(f"{small.url}/health", trust_env=False, timeout=60).status_code == 200


def test_headers_have_to_come_within_seconds(hurried: SmallServer) -> None:
    with connect(hurried) as silent, connect(hurried, BEGUN) as slow, connect(hurried, BEGUN) as trickling:
        check_error(heard(slow), 408, "request_timeout")
        assert heard(silent) == b""
        send_until_closed(trickling, b"x")
    again = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(hurried, again + BEGUN) as second:  # a connection that is used again has no more time
        said = heard(second)
        assert said.count(b"HTTP/1.1 ") == 2
        check_error(said[said.rindex(b"HTTP/1.1 ") :], 408, "request_timeout")


def test_what_comes_after_a_refusal_has_to_come_within_seconds_too(hurried: SmallServer) -> None:
    endless = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(hurried, endless) as connection:
        send_until_closed(connection, b"1\r\nx\r\n")


def test_an_answer_may_take_longer_than_headers(hurried: SmallServer) -> None:
    answer = httpx.post(f"{hurried.url}/v1/chat/completions", json=question(), trust_env=False, timeout=60)
    assert answer.status_code == 200  # the model had to be loaded first


def test_bodies_that_come_slowly_keep_nobody_out(hurried: SmallServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_SECONDS_UNDISTURBED", 0.0)
    with connect(hurried, POST + b"\r\n{") as first, connect(hurried, POST + b"\r\n{"):
        while httpx.post(f"{hurried.url}/v1/completions", json={}, trust_env=False, timeout=60).status_code != 400:
            pass  # they may not have come yet
        said = heard(first)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"came too slowly" in said


def test_what_is_no_http_is_told_so_in_our_form(small: SmallServer) -> None:
    with connect(small, b"\x16\x03\x01 hello\r\n\r\n") as connection:
        check_error(heard(connection), 400, "invalid_http")


def test_there_are_never_more_connections_than_files() -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        assert 16 <= room_for_connections() < 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.slow
def test_a_thousand_unfinished_requests(server: Running) -> None:
    address = httpx.URL(server.url)
    with ExitStack() as stack:
        for _ in range(1050):
            connection = stack.enter_context(socket.create_connection((address.host, address.port or 0), timeout=60))
            connection.sendall(BEGUN)
        for _ in range(10):
            assert server.get("/health").status_code == 200
