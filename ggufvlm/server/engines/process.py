"""A model in a process of its own: questions go down, answers come up, and when it crashes only they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import signal
import struct
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable
from typing import IO

from ggufvlm.errors import EngineError, GGUFVLMError
from ggufvlm.server.contract import Asked, Begun, Done, EngineGone, Event, TooSlow
from ggufvlm.server.engines.messages import Ask, Cancel, Finished, FromChild, Load, Ready, Said, Started
from ggufvlm.vlm.answer import Answer
from ggufvlm.workers.framing import Failure

_LENGTH = struct.Struct("<Q")
_LAST_WORDS = 20_000
_END_TIMEOUT = 5.0


class EngineProcess:
    """One child process, from start to end. All methods belong to one event loop.

    Args:
        load: which model, and how.
        on_end: called with the process and how it ended, before those who wait for answers hear of it.
        on_answer: gets each answer, also those that nobody waits for any more.
        on_change: called when it has let go of a question.

    Attributes:
        n_answered: questions that were answered.
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
        self._process: Process | None = None
        self._noise: IO[bytes] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._open: dict[int, asyncio.Queue[Event | GGUFVLMError]] = {}
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.n_answered = 0
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None or self.gone.done() else self._process.pid

    @property
    def n_open(self) -> int:
        """Questions in its hands; those that nobody waits for any more count until it has let go of them."""
        return len(self._open)

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        self._noise = None if self._load.debug else tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ggufvlm.server.engines.child"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=self._noise,
                start_new_session=True,  # a terminal's Ctrl-C is for the server: running answers may end first
            )
            self._listening = asyncio.create_task(self._listen(), name="ggufvlm-child")
            self._tell(self._load)
            await self._loaded
        except OSError as error:
            await self.kill()
            raise EngineError(f"no process can be started: {error.strerror or error}") from error
        except BaseException:
            await self.kill()
            raise

    async def ask(self, asked: Asked, name: str, deadline: float) -> AsyncGenerator[Event, None]:
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
            self._tell(Ask(number, asked))
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
                self._tell(Cancel(number))

    def _tell(self, message: Load | Ask | Cancel) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with contextlib.suppress(OSError, RuntimeError):  # it has ended, which the listener will see
            self._process.stdin.write(_LENGTH.pack(len(data)))
            self._process.stdin.write(data)

    # -- hearing

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, pickle.UnpicklingError):
            while True:
                (length,) = _LENGTH.unpack(await pipe.readexactly(_LENGTH.size))
                self._take(pickle.loads(await pipe.readexactly(length)))
        try:
            await asyncio.wait_for(self._process.wait(), _END_TIMEOUT)
        except asyncio.TimeoutError:
            _kill(self._process)  # one that does not speak any more is of no use
        self._bury(await self._how_it_ended(self._process))
        self._drop()

    def _take(self, message: FromChild) -> None:
        if isinstance(message, Said):
            for number, piece in message.pieces:
                self._open[number].put_nowait(piece)
        elif isinstance(message, Started):
            self._open[message.number].put_nowait(Begun(""))
        elif isinstance(message, Finished):
            self._finish(message)
        elif not self._loaded.done():
            if isinstance(message, Failure):
                self._loaded.set_exception(message.error())
            else:
                assert isinstance(message, Ready)
                self._loaded.set_result(None)

    def _finish(self, message: Finished) -> None:
        events = self._open.pop(message.number)
        if message.answer is not None:
            self.n_answered += 1
            self._on_answer(message.answer)
            events.put_nowait(Done(message.answer))
        else:
            assert message.failure is not None
            events.put_nowait(message.failure.error())
        self._on_change()

    def _bury(self, reason: str) -> None:
        if not self._loaded.done():
            error = EngineError(f"the engine's process ended while it loaded the model: {reason}")
            self._loaded.set_exception(error)
        self.gone.set_result(reason)
        self._on_end(self, reason)
        what = "the server is being stopped" if self._is_closing else "the model's process ended while it answered"
        for events in self._open.values():
            events.put_nowait(EngineGone(what))
        self._open.clear()
        self._on_change()
        self._drop()

    async def _how_it_ended(self, process: Process) -> str:
        code = await process.wait()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        said = self._last_words()
        return f"{how} ({said})" if said else how

    def _last_words(self) -> str:
        if self._noise is None or self._noise.closed:
            return ""
        self._noise.seek(0, 2)
        self._noise.seek(max(0, self._noise.tell() - _LAST_WORDS))
        lines = self._noise.read().decode("utf-8", "replace").splitlines()
        failed = [line for line in lines if "GGML_ASSERT" in line or "rror" in line]
        return failed[-1].strip()[:200] if failed else ""

    # -- ends

    async def close(self) -> None:
        """Let it end, and make it if it does not. Safe to call twice."""
        self._is_closing = True
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self.gone), _END_TIMEOUT)
        except asyncio.TimeoutError:
            await self.kill()
        self._drop()

    async def kill(self) -> None:
        """End it on the spot."""
        if self._process is not None:
            _kill(self._process)
            await asyncio.shield(self.gone)
        self._drop()

    def _drop(self) -> None:
        if self._noise is not None:
            self._noise.close()


def _kill(process: Process) -> None:
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        # not process.kill(): it would take the exit code away from asyncio, which waits for it in a thread
        os.kill(process.pid, signal.SIGKILL)
