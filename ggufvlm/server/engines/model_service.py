"""One model of the server: whether its process runs, who is being answered, how long it stays."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from typing import Any

from ggufvlm.config import SamplingParams
from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.contract import INDEFINITELY, Busy, ClientQuestion, Done, Event, ModelCard, Piece, TooSlow
from ggufvlm.server.engines.crash_quarantine import CrashQuarantine
from ggufvlm.server.engines.memory_budget import memory_needed
from ggufvlm.server.engines.messages import Load
from ggufvlm.server.engines.model_info import make_card
from ggufvlm.server.engines.process import EngineProcess
from ggufvlm.server.metrics import Metrics

_log = logging.getLogger(__name__)

_LONGEST_RETRY = 60
_MEMORY_OF_MEAN = 0.9


class KeepAlive:
    """The clock that unloads a model nobody asks.

    Args:
        seconds: to stay after an answer; :data:`~ggufvlm.server.contract.INDEFINITELY`; 0 for none.
        expire: unloads it.

    Attributes:
        expires: when that will be, in seconds of ``time.time``; ``None`` while the clock stands.
        last_used: when the clock was last set, by ``time.monotonic``.
    """

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._usual = self._seconds = seconds
        self._expire = expire
        self._alarm: asyncio.TimerHandle | None = None
        self.expires: float | None = None
        self.last_used = 0.0

    def choose(self, seconds: float | None) -> None:
        """Stay so long from the next answer on; ``None``: as long as usual."""
        self._seconds = self._usual if seconds is None else seconds

    def begin(self) -> None:
        """Nobody is being answered any more."""
        self.stop()
        self.last_used = time.monotonic()
        if self._seconds != INDEFINITELY:
            self._alarm = asyncio.get_running_loop().call_later(self._seconds, self._expire)
            self.expires = time.time() + self._seconds

    def stop(self) -> None:
        """Somebody is, or there is nothing to unload."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self.expires = None


class ModelService:
    """A model: unloaded, loading, at work, or idle until its clock has run down.

    Args:
        load: its files and settings.
        keep_alive: as of :class:`KeepAlive`.
        metrics: counts what happens.
        make_ready: has it loaded when it returns; calls :meth:`start`.
        on_idle: called when its process has let go of its last question, and when one got in.

    Attributes:
        clock: how long it stays.
        is_ill: whether its process was ended because it did not answer, and it has answered nothing since.
        n_waiting_for_load: questions that wait for it to be loaded.
    """

    def __init__(
        self,
        load: Load,
        keep_alive: float,
        metrics: Metrics,
        make_ready: Callable[[ModelService], Awaitable[None]],
        on_idle: Callable[[], None],
    ) -> None:
        self.name = load.files.name
        self.clock = KeepAlive(keep_alive, lambda: self._begin(self._expire()))
        self.n_waiting_for_load = 0
        self._load = load
        self._metrics = metrics
        self._make_ready = make_ready
        self._on_idle = on_idle
        self._quarantine = CrashQuarantine()
        self._process: EngineProcess | None = None
        self._n_waiting = 0
        self._mean_seconds = 1.0
        self.is_ill = False
        self._has_warned = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what there is to know

    @property
    def card(self) -> ModelCard:
        """What clients are told.

        Raises:
            ModelError: its file is damaged, or gone.
        """
        on_gpu = self._process.on_gpu if self._process else 0.0
        return replace(self._fixed_card, is_loaded=self.is_loaded, on_gpu=on_gpu, expires=self.clock.expires)

    @cached_property
    def _fixed_card(self) -> ModelCard:
        return replace(make_card(self._load.files), aliases=self._load.aliases)

    @cached_property
    def needed(self) -> int:
        """Bytes of memory it takes.

        Raises:
            ModelError: its file is damaged, or gone.
        """
        return memory_needed(self._load.files, self._load.config)

    @property
    def is_loaded(self) -> bool:
        return self._process is not None and not self._process.gone.done()

    @property
    def pid(self) -> int | None:
        """The id of the process that holds the model; ``None`` while there is none."""
        return self._process.pid if self._process else None

    @property
    def n_in_process(self) -> int:
        """Questions that its process has not let go of."""
        return self._process.n_open if self._process else 0

    @property
    def n_open(self) -> int:
        """Questions that wait or are being answered."""
        return self._n_waiting + self.n_in_process

    @property
    def n_running(self) -> int:
        """Questions that have a slot."""
        return min(self.n_in_process, self._load.config.n_slots)

    # -- answering

    async def answer(self, asked: ClientQuestion) -> AsyncGenerator[Event, None]:
        """See :meth:`Engines.ask <ggufvlm.server.contract.Engines.ask>`."""
        self._check(asked)
        limits, began = self._load.limits, time.monotonic()
        deadline = asyncio.get_running_loop().time() + limits.seconds
        self._n_waiting += 1
        is_waiting, first = True, None
        try:
            async with self._quarantine.watch(asked):
                process = await self._ready(deadline)
                # from here on to the process without a pause: nothing can be unloaded in between
                self._n_waiting, is_waiting = self._n_waiting - 1, False
                async with aclosing(process.stream(asked, self.name, deadline)) as events:
                    async for event in events:
                        if first is None and isinstance(event, Piece):
                            first = time.monotonic() - began
                        if isinstance(event, Done):
                            self._count(asked, first, time.monotonic() - began)
                        yield event
        finally:
            self._n_waiting -= is_waiting
            self.hold(asked.keep_alive)

    def _check(self, asked: ClientQuestion) -> None:
        """Raises: Busy, UsageError."""
        SamplingParams(**asked.settings)  # refuses what makes no sense
        limits, n_slots = self._load.limits, self._load.config.n_slots
        if self.n_open >= n_slots + limits.queue:
            wait = math.ceil(self._mean_seconds * self.n_open / n_slots)
            raise Busy(
                f"{self.name} is answering {n_slots} requests and {limits.queue} wait: try again later",
                retry_after=max(1, min(wait, _LONGEST_RETRY)),
            )

    async def _ready(self, deadline: float) -> EngineProcess:
        """Raises: TooSlow, ModelError, EngineError."""
        self.n_waiting_for_load += 1
        try:
            while self._process is None or self._process.gone.done():
                left = deadline - asyncio.get_running_loop().time()
                await asyncio.wait_for(self._make_ready(self), left)
            return self._process
        except asyncio.TimeoutError:
            raise TooSlow("the model was not loaded in the time this server allows for an answer") from None
        finally:
            self.n_waiting_for_load -= 1
            self._on_idle()

    def _count(self, asked: ClientQuestion, first: float | None, seconds: float) -> None:
        self._quarantine.answered(asked)
        self.is_ill = False
        self._metrics.count_times(self.name, first, seconds)
        self._mean_seconds = _MEMORY_OF_MEAN * self._mean_seconds + (1 - _MEMORY_OF_MEAN) * seconds

    # -- coming and going

    async def start(self) -> None:
        """Load it.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        _log.info("loading %s", self.name)
        began = time.monotonic()
        process = EngineProcess(
            self._load,
            on_end=self._ended,
            on_answer=lambda answer: self._metrics.count_answer(self.name, answer),
            on_change=self._settle,
        )
        await process.start()
        self._process = process
        self._metrics.loads.labels(self.name).inc()
        _log.info("loaded %s in %.1f s", self.name, time.monotonic() - began)
        for text in process.warnings if not self._has_warned else ():
            _log.warning("%s", text)
        self._has_warned = True
        self._settle()

    def hold(self, keep_alive: float | None) -> None:
        """Set how long it stays from now on, if nobody asks."""
        self.clock.choose(keep_alive)
        self._settle()

    async def unload(self) -> None:
        """Free its memory. What it was answering is lost."""
        self.clock.stop()
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    def _settle(self) -> None:
        """Set the clock if nobody is being answered, stop it if somebody is."""
        if self.is_loaded and not self.n_open:
            self.clock.begin()
        else:
            self.clock.stop()
        if not self.n_in_process:
            self._on_idle()

    async def _expire(self) -> None:
        if not self.n_open:
            _log.info("unloading %s, which nobody asks", self.name)
            await self.unload()

    def _ended(self, process: EngineProcess, reason: str) -> None:
        """Its process has ended by itself; called before those who wait for it hear of it."""
        if process is not self._process:
            return
        _log.error("the process of %s ended: %s", self.name, reason)
        self._metrics.crashes.labels(self.name).inc()
        self._quarantine.crashed()
        self.is_ill = process.is_hanging
        self._process = None
        if process.n_answered:
            self._begin(self._restart())

    async def _restart(self) -> None:
        try:
            await self._make_ready(self)
        except GGUFVLMError as error:
            _log.error("%s cannot be restarted: %s", self.name, error)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
