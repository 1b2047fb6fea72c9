"""A server of our own, as a user starts it, and what tests want to know of it."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tests.support.scenes import Block, Scene

SCENE = Scene("white", (Block("blue", "column", (0.1, 0.15, 0.25, 0.9)), Block("red", "square", (0.5, 0.3, 0.8, 0.72))))
OTHER = Scene("black", (Block("green", "bar", (0.2, 0.4, 0.8, 0.62)),))
LONG = "Detect all objects."
"""A question with a long answer."""
_LISTENING = re.compile(r"listening on (http://\S+)")


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def v1(self) -> str:
        return self.url + "/v1"

    def text(self) -> str:
        """What it has written to stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def post(self, body: Any, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60, trust_env=False, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60, trust_env=False, **more)

    def number(self, name: str, **labels: str) -> float:
        """One of its metrics; 0 if it was never counted."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and wanted <= set((found[1] or "").split(",")):
                total += float(found[2])
        return total

    def wait_for(self, name: str, value: float, seconds: float = 20.0, **labels: str) -> None:
        """Wait until a metric has this value."""
        give_up = time.monotonic() + seconds
        while (found := self.number(name, **labels)) != value:
            assert time.monotonic() < give_up, f"{name} is {found}, not {value}"
            time.sleep(0.02)

    @property
    def children(self) -> list[int]:
        """Processes of its models (Linux)."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def wait_until_alone(self, seconds: float = 20.0) -> None:
        """Wait until the processes of its models have ended: an unloaded one still has to free its memory."""
        give_up = time.monotonic() + seconds
        while self.children:
            assert time.monotonic() < give_up, f"{self.children} are still there"
            time.sleep(0.02)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait; its exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(timeout=60)


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """``ggufvlm serve`` with the built-in model on a free port; killed at the end if it still runs."""
    log = folder / "serve.log"
    unset = {"GGUFVLM_API_KEY", "GGUFVLM_MODEL"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "ggufvlm", "serve", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**inherited, "GGUFVLM_MODEL": "demo", "GGUFVLM_CACHE_DIR": str(folder / "cache"), **environment},
        ) as process,
    ):
        try:
            yield Running(process, _wait_until_listening(process, log), log)
        finally:
            process.kill()


def _wait_until_listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Until it listens or has ended, however long that takes: a busy machine is no failure."""
    while True:
        has_ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        found = _LISTENING.search(text)
        if found:
            return found[1]
        assert not has_ended, text
        time.sleep(0.02)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def uri(scene: Scene | bytes = SCENE) -> str:
    """An image as a data URI."""
    data = encoded(scene.draw(140, 140)) if isinstance(scene, Scene) else scene
    return "data:image/png;base64," + base64.b64encode(data).decode()


def image(scene: Scene | bytes = SCENE, **more: Any) -> dict[str, Any]:
    """An image as a part of a message."""
    return {"type": "image_url", "image_url": {"url": uri(scene), **more}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(*parts: dict[str, Any] | str) -> list[dict[str, Any]]:
    """A dialogue of one question."""
    return [{"role": "user", "content": [text(part) if isinstance(part, str) else part for part in parts]}]


def question(words: str = "Describe this image.", scene: Scene | bytes = SCENE, **more: Any) -> dict[str, Any]:
    """A body for ``/v1/chat/completions``."""
    return {"messages": user(image(scene), words), **more}


def endless(**more: Any) -> dict[str, Any]:
    """A body whose answer takes thousands of tokens and some seconds, and does not repeat itself."""
    schema = {"type": "array", "items": {"enum": list(range(10))}, "minItems": 3000}
    wanted = {"type": "json_schema", "json_schema": {"name": "digits", "schema": schema}}
    body = {"messages": user("a"), "response_format": wanted, "temperature": 2, "top_k": 0, "max_tokens": 4000}
    return {**body, **more}


def alive(pid: int) -> bool:
    """Whether a process runs (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Look again and again."""
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)
