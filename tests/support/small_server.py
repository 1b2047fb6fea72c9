"""A server with the built-in model, in a thread of this process: the routes, and a real engine process behind them."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from ggufvlm.config import EngineConfig
from ggufvlm.models.resolve import find_model
from ggufvlm.server.app import Rules, make_app
from ggufvlm.server.contract import Limits
from ggufvlm.server.engines.messages import Load
from ggufvlm.server.engines.pool import EnginePool
from ggufvlm.server.fetch.remote import RemoteRules
from ggufvlm.server.metrics import Metrics

LONG = {
    "model": "demo",
    "prompt": "a",
    "format": {"type": "array", "items": {"enum": list(range(10))}, "minItems": 4000},
    "options": {"num_predict": -1, "temperature": 5.0, "top_k": 0},
}
"""A body for ``/api/generate`` whose answer takes thousands of tokens and does not repeat itself."""


class SmallServer:
    """Runs while it is entered.

    Attributes:
        pool: its models.
    """

    pool: EnginePool

    def __init__(self, limits: Limits, *, n_slots: int = 2, api_key: str | None = None) -> None:
        self._limits = limits
        self._n_slots = n_slots
        self._api_key = api_key
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def _serve(self) -> None:
        config = EngineConfig(n_slots=self._n_slots, use_cache=False)
        load = Load(files=find_model("demo"), config=config, limits=self._limits)
        metrics = Metrics()
        self.pool = EnginePool([load], metrics, keep_alive=300)
        rules = Rules(limits=self._limits, remote=RemoteRules(), api_key=self._api_key)
        app = make_app(self.pool, rules, metrics)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        self._started.set()
        await self._server.serve(sockets=[self._socket])
        await self.pool.stop()

    def __enter__(self) -> SmallServer:
        self._thread.start()
        self._started.wait()  # connections are taken from now on, and answered a moment later
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
