"""A thread that owns an engine: requests in, deltas out. The thread that asks stays free to see Ctrl-C."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ggufvlm.engine.engine import Engine
from ggufvlm.engine.request import Request
from ggufvlm.engine.sequence import Sequence
from ggufvlm.engine.task import Output
from ggufvlm.errors import EngineError

logger = logging.getLogger(__name__)

T = TypeVar("T")
CLOSED = "the model is closed"
_LOOK_UP = 0.5
"""Seconds: a signal that comes just before Python begins to wait is noticed only when the wait ends."""

Outputs = queue.SimpleQueue[Any]
"""Takes :class:`Output`, or an exception that ended the engine."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that is being answered. Iterate for the text; :attr:`sequence` has the numbers when it ends.

    A KeyboardInterrupt that comes while it waits does not end the iteration, as it would end a generator's: after
    :meth:`abort`, iterate on until the engine has stopped.

    Attributes:
        sequence: the engine's record of the request.
        outputs: what the engine gave it, until it is taken out.
        on_thought: takes each piece of the thoughts, while the iteration waits for text.
        said, thought: all text of the answer and of the thoughts so far, whether or not it was taken out.
    """

    _worker: EngineThread
    sequence: Sequence
    outputs: Outputs = field(default_factory=queue.SimpleQueue)
    said: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    on_thought: Callable[[str], None] | None = None
    _end: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next piece of text.

        Raises: what the engine raised while answering, once.
        """
        while self._end is None:
            output = self._next()
            if isinstance(output, BaseException):
                self._end = output
                break
            if output.is_last:
                self._end = output.error or StopIteration()
            if output.thought and self.on_thought is not None:
                self.on_thought(output.thought)
            if output.text:
                return str(output.text)
        end, self._end = self._end, StopIteration()
        try:
            raise end
        finally:
            del end  # its traceback holds this frame, and with it who waits for the answer

    def abort(self) -> None:
        """Make the answer end soon; the iteration then ends with what was said."""
        self._worker.abort(self.sequence)

    def _next(self) -> Any:
        while True:
            is_alive = self._worker.is_alive  # asked first: what it has said before its end is not lost
            try:
                return self.outputs.get(timeout=_LOOK_UP if is_alive else 0)
            except queue.Empty:
                if not is_alive:
                    return EngineError(CLOSED)


class EngineThread:
    """Makes an engine in a thread of its own and runs it there until closed."""

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tickets: dict[int, Ticket] = {}
        self._engine: Engine | None = None
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(make_engine,), name="ggufvlm-engine", daemon=True)
        self._thread.start()

    def wait_until_started(self) -> None:
        """Block until the engine is made.

        Raises: what making it raised.
        """
        self._wait_for(self._started)

    @property
    def engine(self) -> Engine:
        self.wait_until_started()
        if self._engine is None:
            raise EngineError(CLOSED)
        return self._engine

    @property
    def is_alive(self) -> bool:
        """Whether there is still a thread that answers."""
        return self._thread.is_alive()

    def abort(self, sequence: Sequence) -> None:
        """Make a request end soon, with what it has said. One that has ended is left alone."""
        engine = self._engine
        if engine is not None:
            engine.abort(sequence)

    def submit(self, request: Request, outputs: Outputs | None = None) -> Ticket:
        """Begin to answer a request.

        Args:
            request: what is asked.
            outputs: where its outputs go, if several requests share a queue; the ticket is not to be iterated then.

        Raises: ContextOverflow, UsageError, EngineError from :meth:`Engine.add`.
        """

        def add() -> Ticket:
            sequence = self.engine.add(request)
            ticket = self._tickets[sequence.id] = Ticket(
                self, sequence, queue.SimpleQueue() if outputs is None else outputs
            )
            return ticket

        return self.call(add)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the engine's thread, between two steps, and return what it returns."""
        if threading.current_thread() is self._thread:
            return function()
        self.wait_until_started()
        future: Future[T] = Future()
        self._calls.put(lambda: _fulfil(future, function))
        return self._wait_for(future)

    def _wait_for(self, future: Future[T]) -> T:
        while not future.done():
            is_alive = self.is_alive
            wait([future], timeout=_LOOK_UP if is_alive else 0)
            if not is_alive and not future.done():
                raise EngineError(CLOSED)
        return future.result()

    def _run(self, make_engine: Callable[[], Engine]) -> None:
        try:
            self._engine = make_engine()
            self._engine.on_outputs = self._hand_over
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        try:
            while self._serve_calls(wait=self._engine.is_idle) and self._step(self._engine):
                pass
        finally:
            engine, self._engine = self._engine, None
            self._fail_all(EngineError(CLOSED))
            while not self._calls.empty():  # each now finds the engine closed, which is better than waiting for ever
                self._serve_calls(wait=False)
            engine.close()

    def _serve_calls(self, *, wait: bool) -> bool:
        """Run what was called for, all of it; False if the thread is to end."""
        while True:
            try:
                call = self._calls.get(block=wait)
            except queue.Empty:
                return True
            if call is None:
                return False
            call()
            wait = False

    def _step(self, engine: Engine) -> bool:
        """False if the engine cannot go on: what a request may do wrong, it survives."""
        if engine.is_idle:
            return True
        try:
            self._hand_over(engine.step())
        except BaseException as error:
            logger.error("the engine has ended", exc_info=error)
            self._fail_all(error)
            return False
        return True

    def _fail_all(self, error: BaseException) -> None:
        for ticket in self._tickets.values():
            ticket.outputs.put(error)
        self._tickets.clear()

    def _hand_over(self, outputs: list[Output]) -> None:
        for output in outputs:
            ticket = self._tickets.pop(output.sequence.id) if output.is_last else self._tickets[output.sequence.id]
            ticket.said.append(output.text)
            ticket.thought.append(output.thought)
            ticket.outputs.put(output)

    def close(self, patience: float | None = None) -> None:
        """Stop after the running step and free everything. Safe to call twice, and in its own thread.

        Args:
            patience: seconds after which it is left to itself; without end by default.

        Ctrl-C meanwhile is raised at the end: a thread that is still in native code when the interpreter ends
        takes the process down. A second one is raised at once.
        """
        self._calls.put(None)
        if self._engine is not None:
            for ticket in tuple(self._tickets.values()):
                ticket.abort()
        if threading.current_thread() is self._thread:
            return
        interruption = None
        deadline = None if patience is None else time.monotonic() + patience
        while self._thread.is_alive() and (deadline is None or time.monotonic() < deadline):
            try:
                self._thread.join(patience)
            except KeyboardInterrupt as error:
                if interruption is not None:
                    raise
                interruption = error
        if interruption is not None:
            raise interruption


def _fulfil(future: Future[T], function: Callable[[], T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        future.set_exception(error)
