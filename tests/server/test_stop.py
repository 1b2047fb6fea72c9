"""SIGTERM and SIGINT: what is running may end, then everything does."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.running import SCENE, alive, endless, question, started, wait_until


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_running(tmp_path: Path, with_signal: int) -> None:
    with started(tmp_path, "--preload") as server:
        children = server.children
        with httpx.Client(base_url=server.url, trust_env=False) as client:  # a connection that stays open
            client.post("/v1/chat/completions", json=question())
            assert server.stop(with_signal) == 0
        assert children
        assert not any(map(alive, children))
        assert "Traceback" not in server.text()
        assert server.process.stdout is not None
        assert server.process.stdout.read() == b"", "stdout is for answers"


def test_running_answers_end_and_new_ones_are_not_taken(tmp_path: Path) -> None:
    with started(tmp_path, "--preload") as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.post, endless(max_tokens=700))
        server.wait_for("ggufvlm_running", 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.text())
        wait_until(lambda: _refuses(server.url))
        assert running.result().json()["usage"]["completion_tokens"] == 700
        assert server.process.wait(timeout=20) == 0


def _refuses(url: str) -> bool:
    try:
        httpx.get(url + "/health", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_answers_that_take_longer_than_the_grace_are_told_so(tmp_path: Path) -> None:
    with (
        started(tmp_path, "--preload", "--grace", "300ms") as server,
        httpx.stream(
            "POST", server.v1 + "/chat/completions", json=endless(stream=True), timeout=60, trust_env=False
        ) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
        assert json.loads(rest[-2].removeprefix("data: "))["error"]["message"] == "the server is being stopped"
        assert server.process.wait(timeout=20) == 0
        assert "Traceback" not in server.text()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with started(tmp_path, "--preload") as server, ThreadPoolExecutor(1) as pool:
        children = server.children
        running = pool.submit(server.post, endless())
        server.wait_for("ggufvlm_running", 1)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in server.text())
        time.sleep(0.1)
        assert server.stop(signal.SIGINT) == 130
        with pytest.raises(httpx.TransportError):
            running.result()
        wait_until(lambda: not any(map(alive, children)))


def test_after_a_stop_the_port_is_free(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        port = server.url.rpartition(":")[2]
        server.post(question())
        assert server.stop() == 0
    with started(tmp_path, "--port", port) as server:
        assert server.post(question()).json()["choices"][0]["message"]["content"] == SCENE.caption
