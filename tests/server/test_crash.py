"""The engine's process dies: the server says so, starts it again, and goes on."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running import SCENE, Running, alive, endless, question, started, user, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")


def caption(server: Running) -> str:
    return str(server.post(question()).json()["choices"][0]["message"]["content"])


def test_kill_9_of_the_engine_while_it_answers(tmp_path: Path) -> None:
    with started(tmp_path, "--preload") as server, ThreadPoolExecutor(2) as pool:
        assert caption(server) == SCENE.caption
        (child,) = server.children
        plain = pool.submit(server.post, endless())
        with httpx.stream(
            "POST", server.v1 + "/chat/completions", json=endless(stream=True), timeout=60, trust_env=False
        ) as stream:
            lines = stream.iter_lines()
            for _ in range(20):
                next(lines)
            server.wait_for("ggufvlm_running", 2)
            os.kill(child, signal.SIGKILL)
            rest = [line for line in lines if line]
        assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "engine_gone"
        assert rest[-1] == "data: [DONE]"
        answer = plain.result()
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert answer.json()["error"]["type"] == "server_error"
        server.wait_for("ggufvlm_model_loaded", 1)  # by itself, before anybody asks
        assert caption(server) == SCENE.caption
        (other,) = server.children
        assert other != child
        assert server.number("ggufvlm_engine_crashes_total") == 1
        assert "SIGKILL" in server.text()
        assert "Traceback" not in server.text()


def kill_while_answering(server: Running, body: dict[str, Any]) -> int:
    """Ask, and end the model's process once its answer has begun; the status, of the event if the answer had begun."""
    with httpx.stream(
        "POST", server.v1 + "/chat/completions", json={**body, "stream": True}, timeout=60, trust_env=False
    ) as stream:
        if stream.status_code != 200:
            return stream.status_code
        lines = stream.iter_lines()
        while '"content"' not in next(lines):
            pass
        (child,) = server.children
        os.kill(child, signal.SIGKILL)
        assert any("engine_gone" in line for line in lines)
        return 503


def test_a_request_that_ends_the_process_is_not_tried_indefinitely(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        poison = endless(messages=user("poison"))
        assert [kill_while_answering(server, poison) for _ in range(4)] == [503, 503, 400, 400]
        assert caption(server) == SCENE.caption
        assert server.number("ggufvlm_engine_crashes_total") == 2


@pytest.mark.slow
def test_who_was_there_when_it_crashed_is_not_blamed(tmp_path: Path) -> None:
    with started(tmp_path, "--preload") as server, ThreadPoolExecutor(4) as pool:
        caption(server)
        innocent = endless(max_tokens=200)
        poison = endless(messages=user("poison"))
        statuses = []
        for _ in range(3):
            running = [pool.submit(server.post, innocent) for _ in range(2)]
            statuses.append(kill_while_answering(server, poison))
            assert {answer.result().status_code for answer in running} <= {200, 503}
        assert statuses == [503, 503, 400]
        assert server.post(innocent).status_code == 200


def test_a_model_that_cannot_be_loaded_is_our_fault(tmp_path: Path) -> None:
    import ggufvlm

    demo = Path(ggufvlm.__file__).parent / "demo"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes((demo / "tiny-qwen2vl-Q8_0.gguf").read_bytes())
    with started(tmp_path, "-m", str(broken), "--mmproj", str(demo / "mmproj-tiny-qwen2vl-F16.gguf")) as server:
        broken.write_bytes(b"GGUF" + bytes(100))
        for _ in range(2):
            answer = server.post(question())
            assert answer.status_code == 500
            assert "broken" not in answer.text, "the name of a file of ours"
        assert "broken" in server.text()
        assert server.get("/health").status_code == 200


def test_the_engine_ends_with_the_server(tmp_path: Path) -> None:
    with started(tmp_path, "--preload") as server:
        (child,) = server.children
        server.process.kill()
        wait_until(lambda: not alive(child))
