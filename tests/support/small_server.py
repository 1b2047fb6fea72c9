"""A server with the built-in model, in a thread of this process: the routes, and a real engine process behind them."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn

from ggufvlm.config import EngineConfig
from ggufvlm.models.resolve import find_model
from ggufvlm.server.app import Rules, make_app
from ggufvlm.server.contract import Limits
from ggufvlm.server.engines.messages import Load
from ggufvlm.server.engines.pool import EnginePool
from ggufvlm.server.fetch.remote import RemoteRules
from ggufvlm.server.http.connections import Connections
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
        connections: its clients.
    """

    pool: EnginePool

    def __init__(self, limits: Limits, *, n_slots: int = 2, api_key: str | None = None, **rules: Any) -> None:
        """Make it.

        Args:
            limits: of each request.
            n_slots: answers at a time.
            api_key: needed by all clients.
            rules: of connections, as :class:`Connections` has them, and ``n_at_a_time`` of the application.
        """
        self._n_at_a_time = rules.pop("n_at_a_time", 256)
        self.connections = Connections(**{"most": 100, **rules})
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
        app = make_app(self.pool, rules, metrics, n_at_a_time=self._n_at_a_time)
        protocol: Any = self.connections.protocol
        self._server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_level="error", lifespan="off", ws="none"))
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
