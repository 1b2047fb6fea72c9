"""All models of the server: found by name, loaded when asked for, unloaded to make room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from ggufvlm.errors import GGUFVLMError, UsageError
from ggufvlm.hardware.system import available_memory
from ggufvlm.server.contract import ClientQuestion, EngineGone, Event, ModelCard, UnknownModel, plain_name
from ggufvlm.server.engines.memory_budget import MemoryBudget
from ggufvlm.server.engines.messages import Load
from ggufvlm.server.engines.model_service import ModelService
from ggufvlm.server.http.json_body import whole
from ggufvlm.server.metrics import Metrics

_log = logging.getLogger(__name__)

_SHOWN = 100  # characters of a name
_MOST_TOLD = 100
_STOPPING = "the server is being stopped"


class EnginePool:
    """The server's :class:`~ggufvlm.server.contract.Engines`. Belongs to one event loop.

    Args:
        loads: the models, the default one first.
        keep_alive: seconds that a model stays after its last answer.
        max_loaded: models in memory at a time; ``None`` for as many as fit.
        free_memory: bytes that are free.

    Raises:
        UsageError: two models have the same name.
    """

    def __init__(
        self,
        loads: Sequence[Load],
        metrics: Metrics,
        *,
        keep_alive: float,
        max_loaded: int | None = None,
        free_memory: Callable[[], int | None] = available_memory,
    ) -> None:
        self._models: list[ModelService] = []
        self._by_name: dict[str, ModelService] = {}
        self._told: set[str] = set()
        for load in loads:
            name = whole(load.files.name)
            aliases = tuple(map(whole, load.aliases))
            load = replace(load, files=replace(load.files, name=name), aliases=aliases)
            served = ModelService(load, keep_alive, metrics, self._make_ready, self._note_change)
            self._models.append(served)
            for called in (name, *aliases):
                if self._by_name.setdefault(plain_name(called), served) is not served:
                    hint = "rename one of the files, or leave out an --alias"
                    raise UsageError(f"two models are called {called}", hint=hint)
        self._max_loaded = max_loaded
        self._memory = MemoryBudget(free_memory)
        self._one_at_a_time = asyncio.Lock()
        self._loading: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: ModelService | None = None
        self._changed = asyncio.Event()
        self._is_stopping = False
        models = self._models
        metrics.add_gauge(
            "ggufvlm_running", "Requests that have a slot.", lambda: [(m.name, m.n_running) for m in models]
        )
        metrics.add_gauge(
            "ggufvlm_queue_length", "Requests that wait.", lambda: [(m.name, m.n_open - m.n_running) for m in models]
        )
        metrics.add_gauge(
            "ggufvlm_model_loaded", "Whether a model is in memory.", lambda: [(m.name, m.is_loaded) for m in models]
        )

    def _note_change(self) -> None:
        self._changed.set()

    # -- Engines

    def cards(self) -> list[ModelCard]:
        """All models, the default one first."""
        return [model.card for model in self._models]

    def card(self, name: str | None) -> ModelCard:
        """One model.

        Raises:
            UnknownModel: there is none of this name.
        """
        return self._find(name).card

    def card_to_answer(self, name: str | None) -> ModelCard:
        """See :meth:`Engines.card_to_answer <ggufvlm.server.contract.Engines.card_to_answer>`."""
        try:
            return self.card(name)
        except UnknownModel:
            if len(self._models) > 1:
                raise
        card = self.card(None)
        self._tell_stand_in(str(name)[:_SHOWN], card.name)
        return card

    def _tell_stand_in(self, name: str, stand_in: str) -> None:
        if name not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(name)
            _log.info("asked for %r: %s answers, the only model here", name, stand_in)

    async def ask(self, asked: ClientQuestion) -> AsyncGenerator[Event, None]:
        """See :meth:`Engines.ask <ggufvlm.server.contract.Engines.ask>`."""
        self._refuse_if_stopping()
        async with aclosing(self._find(asked.model).answer(asked)) as events:
            async for event in events:
                yield event

    async def load(self, model: str | None, keep_alive: float | None = None) -> None:
        """See :meth:`Engines.load <ggufvlm.server.contract.Engines.load>`."""
        self._refuse_if_stopping()
        served = self._find(model)
        if keep_alive != 0:
            await self._make_ready(served)
        served.hold(keep_alive)

    def _find(self, name: str | None) -> ModelService:
        key = plain_name(name or "")
        found = self._by_name.get(key) if key else self._models[0]
        if found is None:
            shown = (name or "")[:_SHOWN]
            hint = f"if it is another name of one of them: ggufvlm serve --alias {shown}=MODEL"
            raise UnknownModel(f"this server has no model {shown!r}; GET /v1/models lists what it has", hint=hint)
        return found

    def _refuse_if_stopping(self) -> None:
        if self._is_stopping:
            raise EngineGone(_STOPPING)

    @property
    def ill(self) -> list[str]:
        """See :attr:`Engines.ill <ggufvlm.server.contract.Engines.ill>`."""
        return [model.name for model in self._models if model.is_ill]

    # -- loading

    async def _make_ready(self, served: ModelService) -> None:
        """Raises: ModelError, EngineError."""
        while True:
            self._refuse_if_stopping()
            if served is self._draining:
                await self._change()
                continue
            if served.is_loaded:
                return
            if served.name not in self._loading:
                self._begin_to_load(served)
            await asyncio.shield(self._loading[served.name])  # goes on for others if this one gives up

    def _begin_to_load(self, served: ModelService) -> None:
        loaded = self._loading[served.name] = asyncio.get_running_loop().create_future()
        loaded.add_done_callback(_look_at)
        task = asyncio.create_task(self._load(served, loaded))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, served: ModelService, loaded: asyncio.Future[None]) -> None:
        try:
            async with self._one_at_a_time:
                await self._make_room(served)
                await served.start()
                del self._loading[served.name]
                loaded.set_result(None)
                while served.is_loaded and served.n_waiting_for_load:  # before another one takes its room
                    await self._change()
        except GGUFVLMError as error:
            loaded.set_exception(error)
        finally:
            if not loaded.done():
                loaded.set_exception(EngineGone(_STOPPING))
            self._loading.pop(served.name, None)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _make_room(self, served: ModelService) -> None:
        """Unload what was not used longest until the model fits. One that is answering ends its answers first."""
        while True:
            others = [model for model in self._models if model.is_loaded and model is not served]
            few_enough = self._max_loaded is None or len(others) < self._max_loaded
            loaded = sum(model.needed for model in others)
            if (self._memory.fits(served.needed, loaded) and few_enough) or not others:
                return
            idle = [model for model in others if not model.n_open]
            leaving = min(idle or others, key=lambda model: model.clock.last_used)
            _log.info("unloading %s to make room for %s", leaving.name, served.name)
            await self._drain(leaving)

    async def _drain(self, leaving: ModelService) -> None:
        """Unload a model once it answers nobody; who asks it meanwhile waits."""
        self._draining = leaving
        try:
            while leaving.n_in_process:
                await self._change()
            await leaving.unload()
        finally:
            self._draining = None
            self._changed.set()

    # -- the end

    @property
    def n_open(self) -> int:
        """Questions that wait or are being answered."""
        return sum(model.n_open for model in self._models)

    @property
    def pids(self) -> list[int]:
        """Processes of the models."""
        return [model.pid for model in self._models if model.pid is not None]

    async def stop(self) -> None:
        """End all processes and refuse what comes. What is being answered ends with an error."""
        self._is_stopping = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._changed.set()
        await asyncio.gather(*(model.unload() for model in self._models))


def _look_at(done: asyncio.Future[None]) -> None:
    """Its error is told to those who wait; if nobody does any more, asyncio shall not complain."""
    if not done.cancelled():
        done.exception()
