"""In the engine's process: questions from bytes to answers, several at a time.

A few threads decode images and hand questions to the engine, so many that its slots are always full and the memory
for decoded images stays bounded. One thread hands on what the engine says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from ggufvlm.constraints.constraint import Constraint
from ggufvlm.engine.task import Output
from ggufvlm.engine.thread import Ticket
from ggufvlm.errors import EngineError, GGUFVLMError
from ggufvlm.server.contract import ClientQuestion, Done, Limits, Piece
from ggufvlm.server.engines.engine_probe import EngineProbe
from ggufvlm.server.engines.messages import AskQuestion, Cancel, FromChild, Pong, QuestionDone, Started, StepOutputs
from ggufvlm.server.engines.reading import QuestionReader
from ggufvlm.vlm.answer import Answer, PendingAnswer
from ggufvlm.vlm.prompt_tokens import TokenRuns
from ggufvlm.vlm.vlm import VLM
from ggufvlm.workers.framing import Failure

_log = logging.getLogger(__name__)

FITS = "fits"
_LONGEST_CHECK = 300

_AHEAD = 2
"""Questions in the engine's hands beyond those that it answers."""


@dataclass(slots=True, eq=False)
class _InFlight:
    """One question.

    Attributes:
        n_bytes: what it holds of the memory for images.
        read_since: when a thread began to read it, by ``time.monotonic``; ``None`` before and after.
        begun: done when the engine has it.
        context: tokens of its prompt, if they are wanted.
    """

    number: int
    asked: ClientQuestion
    n_bytes: int = 0
    read_since: float | None = None
    is_cancelled: bool = False
    begun: Future[PendingAnswer] = field(default_factory=Future)
    n_logprobs: int = 0
    context: TokenRuns | None = None

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """While a thread works on it, and does not wait for others."""
        self.read_since = time.monotonic()
        try:
            yield
        finally:
            self.read_since = None


class _Mouth(SimpleQueue[Any]):
    """Takes the outputs of one answer to the queue of all."""

    def __init__(self, answering: _InFlight, outputs: SimpleQueue[tuple[_InFlight | None, Any]]) -> None:
        self._answering = answering
        self._outputs = outputs

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._outputs.put((self._answering, item))


class EngineEnded(EngineError):  # noqa: N818 - reads as what happened
    """The engine cannot answer anything any more."""


class RequestWorker:
    """Takes questions, says what comes of them.

    Args:
        vlm: loaded.
        n_slots: answers at a time.
        send: takes what the server is told; called from several threads.
    """

    def __init__(self, vlm: VLM, n_slots: int, limits: Limits, send: Callable[[FromChild], None]) -> None:
        self._vlm = vlm
        self._send = send
        self._reader = QuestionReader(vlm, limits)
        self._permits = threading.Semaphore(n_slots + _AHEAD)
        self._pool = ThreadPoolExecutor(n_slots + _AHEAD, "ggufvlm-reading")
        self._finishing = ThreadPoolExecutor(
            n_slots, "ggufvlm-finishing"
        )  # not the pool's: those wait for answers to end
        self._open: dict[int, _InFlight] = {}
        self._outputs: SimpleQueue[tuple[_InFlight | None, Any]] = SimpleQueue()
        self._probe = EngineProbe(vlm, lambda error: self._outputs.put((None, error)))

    def take(self, ask: AskQuestion) -> None:
        """Begin with a question, some time."""
        answering = self._open[ask.number] = _InFlight(ask.number, ask.asked)
        self._pool.submit(self._begin, answering).add_done_callback(lambda done: self._check(answering, done))

    def cancel(self, cancel: Cancel) -> None:
        """Make an answer end soon."""
        answering = self._open.get(cancel.number)
        if answering is None:
            return
        answering.is_cancelled = True
        if answering.begun.done():
            answering.begun.result().abort()

    def pong(self) -> Pong:
        """A sign of life."""
        now = time.monotonic()
        readings = [now - since for each in tuple(self._open.values()) if (since := each.read_since) is not None]
        return Pong(max(readings, default=0.0), self._probe.seconds_unanswered())

    # -- reading

    def _check(self, answering: _InFlight, done: Future[None]) -> None:
        """What was not foreseen must not leave a client waiting."""
        error = done.exception()
        if error is not None:
            _log.error("reading a question failed", exc_info=error)
            self._close(answering, None, EngineError(f"reading the question failed: {type(error).__name__}"))

    def _begin(self, answering: _InFlight) -> None:
        self._permits.acquire()
        try:
            _stop_if_cancelled(answering)
            begun = self._read(answering)
        except GGUFVLMError as error:
            self._close(answering, None, error)
            return
        self._send(Started(answering.number))
        answering.begun.set_result(begun)
        if answering.is_cancelled:  # while it was being read
            begun.abort()

    def _read(self, answering: _InFlight) -> PendingAnswer:
        """Raises: ImageError, UsageError, ContextOverflow, EngineError."""
        asked, budget = answering.asked, self._reader.budget
        with answering.being_read():
            n_bytes = self._reader.count_bytes(asked)
        budget.take(n_bytes)
        answering.n_bytes = n_bytes
        _stop_if_cancelled(answering)
        with answering.being_read():
            question = self._reader.read(asked)
        budget.give_back(n_bytes - question.n_bytes)
        answering.n_bytes, answering.context = question.n_bytes, question.context
        _stop_if_cancelled(answering)
        return self._vlm.submit(question.request, _Mouth(answering, self._outputs))

    # -- answering

    def relay(self) -> None:
        """Tell what the engine says, indefinitely.

        Raises:
            EngineEnded: it has failed for good.
            OSError: nobody listens.
        """
        while True:
            pieces: list[tuple[int, Piece]] = []
            for answering, output in self._together():
                if answering is None or isinstance(output, BaseException):
                    raise EngineEnded(str(output) or type(output).__name__) from output
                ticket = answering.begun.result().ticket  # so that what is said comes after Started
                if output.text or output.thought or len(ticket.sequence.logprobs) > answering.n_logprobs:
                    pieces.append((answering.number, _piece(answering, ticket, output)))
                if output.is_last:
                    self._flush(pieces)
                    self._finish(answering, output)
            self._flush(pieces)

    def _together(self) -> list[tuple[_InFlight | None, Any]]:
        """Waits for an output; those that are there already come along."""
        found = [self._outputs.get()]
        while True:
            try:
                found.append(self._outputs.get_nowait())
            except Empty:
                return found

    def _flush(self, pieces: list[tuple[int, Piece]]) -> None:
        if pieces:
            self._send(StepOutputs(tuple(pieces)))
            pieces.clear()

    def _finish(self, answering: _InFlight, output: Output) -> None:
        answer = answering.begun.result().finish()
        constraint = answering.asked.settings.get("constraint")
        is_plain = answering.context is None and (constraint is None or constraint.kind != "json_schema")
        if output.error is not None or is_plain:
            self._close(answering, Done(answer), output.error)
            return
        finishing = self._finishing.submit(self._finish_aside, answering, answer)
        finishing.add_done_callback(lambda done: self._check(answering, done))

    def _finish_aside(self, answering: _InFlight, answer: Answer) -> None:
        """What may take a while, if a client's schema or answer is made for that: the watchdog looks at it."""
        with answering.being_read():
            check = _schema_check(answer, answering.asked.settings.get("constraint"))
            context = self._context(answering, answer)
        self._close(answering, Done(answer, check, context), None)

    def _context(self, answering: _InFlight, answer: Answer) -> TokenRuns | None:
        if answering.context is None:
            return None
        *before, last = answering.context
        said = tuple(answering.begun.result().ticket.sequence.generated)
        if answering.asked.settings.get("stop"):
            said = self._reader.tokens.of_text(answer.text)  # a stop string's tokens are no part of the answer
        return (*before, last + said)

    def _close(self, answering: _InFlight, done: Done | None, error: GGUFVLMError | None) -> None:
        self._reader.budget.give_back(answering.n_bytes)
        self._permits.release()
        del self._open[answering.number]
        failure = Failure.of(error) if error is not None else None
        self._send(QuestionDone(answering.number, None if failure else done, failure))


def _stop_if_cancelled(answering: _InFlight) -> None:
    if answering.is_cancelled:
        raise EngineError("cancelled")


def _schema_check(answer: Answer, constraint: Constraint | None) -> str | None:
    """Whether an answer fits its schema, where a grammar cannot hold all of it."""
    if constraint is None or not constraint.is_left_to_check:
        return None
    try:
        constraint.check(answer.text, answer.finish_reason)
    except GGUFVLMError as error:
        return str(error)[:_LONGEST_CHECK]
    return FITS


def _piece(answering: _InFlight, ticket: Ticket, output: Output) -> Piece:
    logprobs = tuple(ticket.sequence.logprobs[answering.n_logprobs :])
    answering.n_logprobs += len(logprobs)
    return Piece(output.text, logprobs, output.thought)
