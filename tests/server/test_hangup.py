"""Clients that leave: what was computed for them ends, and their slots are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.running import SCENE, Running, endless, question, started


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("narrow"), "--slots", "2", "--preload") as running:
        yield running


def is_free(server: Running, n_aborted: float) -> None:
    """All slots are free although the answers were far from their end."""
    server.wait_for("ggufvlm_running", 0, seconds=3)
    server.wait_for("ggufvlm_queue_length", 0)
    server.wait_for("ggufvlm_answers_total", n_aborted, finish_reason="abort")
    assert server.post(question()).json()["choices"][0]["message"]["content"] == SCENE.caption


def read_some(server: Running, stack: ExitStack, n_streams: int) -> list[Iterator[str]]:
    """Begin to read streams. Who forgets a stream's lines hangs up."""
    client = stack.enter_context(httpx.Client(base_url=server.url, timeout=60, trust_env=False))
    streams = []
    for _ in range(n_streams):
        stream = stack.enter_context(client.stream("POST", "/v1/chat/completions", json=endless(stream=True)))
        streams.append(stream.iter_lines())
        for _ in range(10):
            next(streams[-1])
    return streams


def test_a_stream_that_nobody_reads_any_more(narrow: Running) -> None:
    before = narrow.number("ggufvlm_answers_total", finish_reason="abort")
    tokens = narrow.number("ggufvlm_generated_tokens_total")
    with ExitStack() as stack:
        streams = read_some(narrow, stack, 2)
        assert narrow.number("ggufvlm_running") == len(streams)
    is_free(narrow, before + 2)
    assert narrow.number("ggufvlm_generated_tokens_total") - tokens < 4000, "it went on for nobody"
    assert "499" in narrow.text()


def test_a_client_whose_time_is_up(narrow: Running) -> None:
    before = narrow.number("ggufvlm_answers_total", finish_reason="abort")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(narrow.v1 + "/chat/completions", json=endless(), timeout=0.5, trust_env=False)
    is_free(narrow, before + 1)


def test_one_of_several_answers_in_the_queue(narrow: Running) -> None:
    before = narrow.number("ggufvlm_answers_total", finish_reason="abort")
    with ExitStack() as stack:
        streams = read_some(narrow, stack, 2)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(narrow.v1 + "/chat/completions", json=question(n=2), timeout=0.3, trust_env=False)
        narrow.wait_for("ggufvlm_queue_length", 0, seconds=2)
        assert narrow.number("ggufvlm_running") == len(streams), "the others go on"
    narrow.wait_for("ggufvlm_answers_total", before + 4, finish_reason="abort")
    is_free(narrow, before + 4)


def test_a_body_that_never_ends_keeps_no_slot(narrow: Running) -> None:
    address = urlsplit(narrow.url)
    for sent in (b"", b'{"messages": [', b"x" * 100_000):
        with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 5000000\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + sent)
    assert narrow.post(question()).status_code == 200
    assert narrow.number("ggufvlm_running") == 0
