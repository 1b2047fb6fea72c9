"""A model in a process of its own: questions go down, answers come up, and when it crashes only they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from ggufvlm.errors import EngineError, GGUFVLMError
from ggufvlm.server.contract import Begun, ClientQuestion, Done, EngineGone, Event, TooSlow
from ggufvlm.server.engines.messages import (
    AskQuestion,
    Cancel,
    EngineReady,
    FromChild,
    Load,
    Ping,
    Pong,
    QuestionDone,
    Started,
    StepOutputs,
)
from ggufvlm.server.engines.watchdog import Watchdog
from ggufvlm.vlm.answer import Answer
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.worker import Worker

_END_TIMEOUT = 5.0
_LOAD_TIMEOUT = 3600.0  # from a slow disk, over a network


class EngineProcess:
    """One child process, from start to end. All methods belong to one event loop.

    Args:
        load: which model, and how.
        on_end: called with the process and how it ended, before those who wait for answers hear of it.
        on_answer: gets each answer, also those that nobody waits for any more.
        on_change: called when it has let go of a question.

    Attributes:
        n_answered: questions that were answered.
        on_gpu: the fraction of the model that lies on a GPU, 0 to 1.
        warnings: what is to be known of the model, a line each.
        is_hanging: whether it was ended because it did not answer any more.
        gone: done when the process has ended; its result says how.
    """

    def __init__(
        self,
        load: Load,
        *,
        on_end: Callable[[EngineProcess, str], None],
        on_answer: Callable[[Answer], None],
        on_change: Callable[[], None],
    ) -> None:
        self._load = load
        self._on_end = on_end
        self._on_answer = on_answer
        self._on_change = on_change
        self._is_closing = False
        self._worker: Worker | None = None
        self._watchdog: Watchdog | None = None
        self._numbers = itertools.count()
        self._open: dict[int, asyncio.Queue[Event | GGUFVLMError]] = {}
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.n_answered = 0
        self.on_gpu = 0.0
        self.warnings: tuple[str, ...] = ()
        self.is_hanging = False
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """The id of the process; ``None`` before it starts and after it ends."""
        return None if self._worker is None or self.gone.done() else self._worker.pid

    @property
    def n_open(self) -> int:
        """Questions in its hands; those that nobody waits for any more count until it has let go of them."""
        return len(self._open)

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        loop = asyncio.get_running_loop()

        def in_loop(callback: Callable[[Any], None], argument: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(callback, argument)

        try:
            self._worker = Worker(
                "ggufvlm.server.engines.child",
                on_message=partial(in_loop, self._take),
                on_end=partial(in_loop, self._bury),
                show_stderr=self._load.debug,
                new_session=True,  # a terminal's Ctrl-C is for the server: running answers may end first
            )
            self._worker.send(self._load)
            await self._load_within(_LOAD_TIMEOUT)
        except OSError as error:
            raise EngineError(f"no process can be started: {error.strerror or error}") from error
        except BaseException:
            await self.kill()
            raise

    async def _load_within(self, seconds: float) -> None:
        """Raises: ModelError, EngineError."""
        assert self._worker is not None
        worker = self._worker
        alarm = asyncio.get_running_loop().call_later(seconds, worker.kill, f"it took longer than {seconds:g} s")
        try:
            await self._loaded
        finally:
            alarm.cancel()
        self._watchdog = Watchdog(
            self._load.limits,
            is_needed=lambda: bool(self._open),
            ping=lambda: worker.send(Ping()),
            end=self._end_hanging,
        )

    def _end_hanging(self, why: str) -> None:
        assert self._worker is not None
        self.is_hanging = True
        self._worker.kill(why)

    async def stream(self, asked: ClientQuestion, name: str, deadline: float) -> AsyncGenerator[Event, None]:
        """Answer a question; closing the iteration cancels it.

        Args:
            asked: the question.
            name: what to call the model in :class:`Begun`.
            deadline: by the event loop's clock.

        Raises: as :meth:`~ggufvlm.server.contract.Engines.ask`, but for UnknownModel and Busy.
        """
        number = next(self._numbers)
        events: asyncio.Queue[Event | GGUFVLMError] = asyncio.Queue()
        self._open[number] = events
        too_slow = TooSlow("the answer took longer than this server allows")
        alarm = asyncio.get_running_loop().call_at(deadline, events.put_nowait, too_slow)
        try:
            if self.gone.done():
                raise EngineGone("the model is being restarted; try again")
            assert self._worker is not None
            self._worker.send(AskQuestion(number, asked))
            while True:
                event = await events.get()
                if isinstance(event, GGUFVLMError):
                    raise event
                yield Begun(name) if isinstance(event, Begun) else event
                if isinstance(event, Done):
                    return
        finally:
            alarm.cancel()
            if self.gone.done():
                self._open.pop(number, None)
            elif number in self._open:
                assert self._worker is not None
                self._worker.send(Cancel(number))

    # -- hearing

    def _take(self, message: FromChild) -> None:
        if isinstance(message, StepOutputs):
            for number, piece in message.pieces:
                self._open[number].put_nowait(piece)
        elif isinstance(message, Pong):
            if self._watchdog is not None:
                self._watchdog.heard(message)
        elif isinstance(message, Started):
            self._open[message.number].put_nowait(Begun(""))
        elif isinstance(message, QuestionDone):
            self._finish(message)
        elif not self._loaded.done():
            if isinstance(message, Failure):
                self._loaded.set_exception(message.error())
            else:
                assert isinstance(message, EngineReady)
                self.on_gpu, self.warnings = message.on_gpu, message.warnings
                self._loaded.set_result(None)

    def _finish(self, message: QuestionDone) -> None:
        events = self._open.pop(message.number)
        if message.done is not None:
            self.n_answered += 1
            self._on_answer(message.done.answer)
            events.put_nowait(message.done)
        else:
            assert message.failure is not None
            events.put_nowait(message.failure.error())
        self._on_change()

    def _bury(self, reason: str) -> None:
        if self._watchdog is not None:
            self._watchdog.close()
        if not self._loaded.done():
            error = EngineError(f"the engine's process ended while it loaded the model: {reason}")
            self._loaded.set_exception(error)
        self.gone.set_result(reason)
        self._on_end(self, reason)
        what = "the server is being stopped" if self._is_closing else "the model's process ended while it answered"
        if self.is_hanging:
            what = "the model's process did not answer any more and was ended"
        for events in self._open.values():
            events.put_nowait(EngineGone(what))
        self._open.clear()
        self._on_change()

    # -- ends

    async def close(self) -> None:
        """Let it end, and make it if it does not. Safe to call twice."""
        self._is_closing = True
        if self._worker is None:
            return
        self._worker.finish()
        try:
            await asyncio.wait_for(asyncio.shield(self.gone), _END_TIMEOUT)
        except asyncio.TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it on the spot."""
        if self._worker is not None:
            self._worker.kill()
            await asyncio.shield(self.gone)
