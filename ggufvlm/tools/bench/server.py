"""A ``llama-server`` of our own, and questions to it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import EngineError

if TYPE_CHECKING:
    import httpx

_START_TIMEOUT = 300.0  # seconds: a large model from a slow disk


@dataclass(slots=True)
class ServerReply:
    """An answer of the server.

    Attributes:
        first: seconds from the question to its first text.
        seconds: to its end.
        moments: when each piece came, by ``time.perf_counter``.
        n_prompt, n_tokens: tokens of the prompt and of the answer, as the server counts them.
    """

    first: float = 0.0
    seconds: float = 0.0
    moments: list[float] = field(default_factory=list)
    n_prompt: int = 0
    n_tokens: int = 0


class LlamaServer:
    """A server that is ready; see :func:`started`."""

    def __init__(self, client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
        self.client = client
        self._process = process

    def ask(self, png: bytes | None, prompt: str, n_tokens: int, *, slot: int | None = None) -> ServerReply:
        """Ask for exactly ``n_tokens``, always the most probable one.

        Args:
            png: the image, if there is one.
            prompt: the question.
            n_tokens: of the answer.
            slot: where the server is to answer; ``None`` leaves it to the server.

        Raises:
            EngineError: the server refused.
        """
        return self.send(question_body(png, prompt, n_tokens, slot=slot))

    def send(self, body: str, until: threading.Event | None = None, moments: list[float] | None = None) -> ServerReply:
        """Send a question and read the answer as it comes.

        Args:
            body: from :func:`question_body`.
            until: set it when no more is wanted.
            moments: becomes :attr:`ServerReply.moments`, for another thread to watch.

        Raises:
            EngineError: the server refused.
        """
        reply, began = ServerReply(moments=[] if moments is None else moments), time.perf_counter()
        headers = {"Content-Type": "application/json"}
        with self.client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response:
            if response.status_code != 200:
                raise EngineError(f"llama-server: {response.read().decode(errors='replace')[:200]}")
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    _take(reply, json.loads(line.removeprefix("data: ")))
                if until is not None and until.is_set():
                    break
        reply.seconds = time.perf_counter() - began
        reply.first = reply.moments[0] - began if reply.moments else reply.seconds
        return reply

    def ask_together(self, bodies: Sequence[str]) -> list[ServerReply]:
        """Send questions at the same time, each from a client of its own."""
        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(self.send, bodies))

    def peak(self) -> int | None:
        """Bytes of memory at most until now; None where the system does not tell."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), None)


def question_body(png: bytes | None, prompt: str, n_tokens: int, *, slot: int | None = None) -> str:
    """A streamed question, with the image in it."""
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    if png is not None:
        url = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": n_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if slot is not None:
        body["id_slot"] = slot
    return json.dumps(body)


def _take(reply: ServerReply, event: dict[str, Any]) -> None:
    if event.get("error"):
        raise EngineError(f"llama-server: {event['error']}")
    for choice in event.get("choices") or ():
        if choice.get("delta", {}).get("content"):
            reply.moments.append(time.perf_counter())
    usage = event.get("usage")
    if usage:
        reply.n_prompt, reply.n_tokens = usage["prompt_tokens"], usage["completion_tokens"]


@contextmanager
def started(program: Path, arguments: Sequence[str | Path]) -> Iterator[LlamaServer]:
    """Run a server until the block ends; it answers when the block begins.

    Raises:
        EngineError: it ended, or was not ready in time.
    """
    import httpx

    port = _free_port()
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [os.fspath(word) for word in (program, *arguments, *address)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        # the machine's proxies are for the network outside
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=None, trust_env=False) as client,
    ):
        try:
            _wait_until_ready(client, process)
            yield LlamaServer(client, process)
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    import httpx

    give_up = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise EngineError(f"llama-server ended with code {process.returncode} before it was ready")
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:  # it does not listen yet
            pass
        time.sleep(0.005)
    raise EngineError(f"llama-server was not ready within {_START_TIMEOUT:.0f} s")
