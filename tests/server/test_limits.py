"""What one request may take, and what is told of it."""

from __future__ import annotations

import contextlib
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image

from tests.support.running import SCENE, Running, encoded, endless, image, question, started, user

MEGA = 1_000_000


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = ["--max-body", "1", "--max-images", "2", "--max-pixels", "1", "--max-tokens", "5", "--slots", "1"]
    with started(tmp_path_factory.mktemp("strict"), *options, "--preload") as running:
        yield running


def pieces(n_bytes: int, size: int = 50_000) -> Iterator[bytes]:
    """A body without a length, sent in chunks."""
    for _ in range(n_bytes // size):
        yield b" " * size


def resident(server: Running) -> int:
    """Bytes that the server's own process has had in memory at most (Linux)."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate", "/api/show"])
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large(strict: Running, path: str, is_announced: bool) -> None:
    content = b" " * (MEGA + 1) if is_announced else pieces(2 * MEGA)
    answer = httpx.post(strict.url + path, content=content, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 413
    assert "1000000 bytes" in answer.text


def test_a_body_as_large_as_allowed(strict: Running) -> None:
    body = json.dumps(question()).encode()
    padded = body + b" " * (MEGA - len(body))
    answer = strict.post(None, content=padded, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.slow
def test_an_endless_body_does_not_fill_the_memory(strict: Running) -> None:
    strict.post(question())
    before = resident(strict)
    with contextlib.suppress(httpx.TransportError):  # it is cut off, after a while of patience
        answer = httpx.post(
            strict.v1 + "/chat/completions", content=pieces(10**12), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
    assert resident(strict) - before < 20 * MEGA
    assert strict.post(question()).status_code == 200


def test_too_many_images(strict: Running) -> None:
    answer = strict.post({"messages": user(image(), image(), image(), "Describe each image.")})
    assert answer.status_code == 400
    assert "3 images" in answer.json()["error"]["message"]


def test_an_image_that_is_too_large_is_named(strict: Running) -> None:
    huge = encoded(Image.new("RGB", (1001, 1000), "red"))
    answer = strict.post({"messages": user(image(), image(huge), "Describe each image.")})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert "image 2" in message
    assert "1001x1000" in message


def test_a_decompression_bomb(strict: Running) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    answer = strict.post({"messages": user(image(bomb), "What?")})
    assert answer.status_code == 400
    assert "100000x100000" in answer.json()["error"]["message"]


def test_damaged_images_of_many_kinds(strict: Running) -> None:
    good = encoded(SCENE.draw(140, 140))
    for data in (b"", good[:50], good[:-40], b"%PDF-1.7", b"<svg/>", b"GIF89a", bytes(1000), good[::-1]):
        answer = strict.post(question(scene=data))
        assert answer.status_code == 400, data[:10]
        assert "/" not in answer.json()["error"]["message"].replace("image/png", "")


def test_answers_are_no_longer_than_allowed(strict: Running) -> None:
    for more in ({}, {"max_tokens": 400}, {"max_completion_tokens": 400}):
        answer = strict.post(question("Detect all objects.", **more)).json()
        assert answer["usage"]["completion_tokens"] == 5
        assert answer["choices"][0]["finish_reason"] == "length"


def test_a_full_queue(tmp_path: Path) -> None:
    with started(tmp_path, "--slots", "1", "--queue", "1", "--preload") as server, ThreadPoolExecutor(1) as pool:
        client = openai.OpenAI(base_url=server.v1, api_key="none", max_retries=0)
        with httpx.stream("POST", server.v1 + "/chat/completions", json=endless(stream=True), timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            waiting = pool.submit(server.post, question())
            server.wait_for("ggufvlm_queue_length", 1)
            with pytest.raises(openai.RateLimitError) as full:
                client.chat.completions.create(model="demo", messages=user("Hello."))
            refused = server.post({"model": "demo", "prompt": "Hello."}, "/api/generate")
            assert server.number("ggufvlm_running") == 1, "the slot became free too early for this test"
            del lines  # hangs up
        assert full.value.code == "queue_full"
        assert 1 <= int(full.value.response.headers["Retry-After"]) <= 60
        assert (refused.status_code, set(refused.json())) == (429, {"error"})
        assert waiting.result().json()["choices"][0]["message"]["content"] == SCENE.caption
        assert server.post(question()).json()["choices"][0]["message"]["content"] == SCENE.caption


@pytest.mark.slow
def test_an_answer_that_takes_too_long(tmp_path: Path) -> None:
    with started(tmp_path, "--timeout", "700ms", "--preload") as server:
        late = server.post(endless())
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        stream = server.post(endless(stream=True)).text
        assert '"code": "timeout"' in stream.replace('":"', '": "')
        assert stream.endswith("data: [DONE]\n\n")
        server.wait_for("ggufvlm_running", 0, seconds=3)
        assert server.post(question()).json()["choices"][0]["message"]["content"] == SCENE.caption


def test_images_beyond_the_limit_together(tmp_path: Path) -> None:
    big = encoded(SCENE.draw(1000, 1000))
    with started(tmp_path, "--max-pixels", "1") as server:
        many = server.post({"messages": user(*[image(big)] * 5, "Describe each image.")})
        assert many.status_code == 400
        assert "5000000 pixels together" in many.json()["error"]["message"]
        with ThreadPoolExecutor(8) as pool:  # far more than may be in memory at a time
            answers = list(pool.map(lambda _: server.post(question(scene=big)), range(16)))
        assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {SCENE.caption}


def test_others_are_answered_while_a_body_comes_in_slowly(server: Running) -> None:
    body = json.dumps(question()).encode()
    halfway, done = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield body[:100]
        halfway.set()
        assert done.wait(20)
        yield body[100:]

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(
            httpx.post,
            server.v1 + "/chat/completions",
            content=slowly(),
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert halfway.wait(20)
        assert server.post(question()).status_code == 200
        done.set()
        assert slow.result().json()["choices"][0]["message"]["content"] == SCENE.caption
