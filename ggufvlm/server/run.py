"""From an application to a running server, and to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ggufvlm.errors import ExitCode
from ggufvlm.server.engines.pool import EnginePool
from ggufvlm.server.http.address import Address
from ggufvlm.server.http.connections import Connections, room_for_connections

_log = logging.getLogger(__name__)

FORCED = ExitCode.INTERRUPTED
_LET_GO_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How to run.

    Attributes:
        grace: seconds for running answers when the server is stopped.
        preload: load all models before listening.
        on_listening: called when requests are taken.
    """

    address: Address
    grace: float
    preload: bool
    on_listening: Callable[[], None]


class _SignalFreeServer(uvicorn.Server):
    """Without uvicorn's own handling of signals, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve_until_stopped(make: Callable[[], tuple[FastAPI, EnginePool]], plan: Plan) -> None:
    """Serve until a signal comes; see :func:`run`.

    Args:
        make: makes the application and its models, in the event loop.
        plan: how.

    Raises:
        ModelError, EngineError: a model cannot be loaded in advance.
    """
    asyncio.run(run(make, plan))


async def run(make: Callable[[], tuple[FastAPI, EnginePool]], plan: Plan) -> None:
    """Serve until a signal comes. The first one lets running answers end, the second one ends all at once.

    Raises:
        ModelError, EngineError: a model cannot be loaded in advance.
    """
    app, pool = make()
    connections = Connections(most=room_for_connections())
    config = uvicorn.Config(
        app,
        http=connections.protocol,  # type: ignore[arg-type]  # it is called like the class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(plan.grace + _LET_GO_S) + 1,
    )
    server = _SignalFreeServer(config)
    stopping = asyncio.Event()
    with _signals(asyncio.get_running_loop(), stopping, pool):
        try:
            if plan.preload and not await _preload(pool, stopping):
                return
            await _serve(server, pool, plan, stopping)
        finally:
            await pool.stop()


async def _preload(pool: EnginePool, stopping: asyncio.Event) -> bool:
    """False if it was stopped meanwhile."""
    loading = asyncio.ensure_future(_load_all(pool))
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not loading.done():
        loading.cancel()
        return False
    loading.result()
    return True


async def _load_all(pool: EnginePool) -> None:
    for card in pool.cards():
        await pool.load(card.name)


async def _serve(server: _SignalFreeServer, pool: EnginePool, plan: Plan, stopping: asyncio.Event) -> None:
    serving = asyncio.ensure_future(server.serve(sockets=[plan.address.socket]))
    stop = asyncio.ensure_future(stopping.wait())
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        plan.on_listening()
    await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        if pool.n_open:
            _log.info("stopping within %g s, when what is running has ended; again to stop at once", plan.grace)
        server.should_exit = True
        await asyncio.wait((serving,), timeout=plan.grace)
        await pool.stop()  # what still runs ends now, and is told so
    stop.cancel()
    await serving


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event, pool: EnginePool) -> Generator[None, None, None]:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            for pid in pool.pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            os._exit(FORCED)
        loop.call_soon_threadsafe(stopping.set)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
