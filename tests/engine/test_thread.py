"""The engine's thread outlives what goes wrong in it, and nobody waits for one that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ggufvlm.engine.request import Request
from ggufvlm.engine.thread import EngineThread, Ticket
from ggufvlm.errors import EngineError
from tests.support.engines import GREEDY, image, make_engine, prompt

QUESTION = prompt((image(1), "What is on the left?"))
ENDLESS = replace(GREEDY, max_tokens=100_000, repetition_guard=False, temperature=1.5)


@pytest.fixture
def worker() -> Iterator[EngineThread]:
    worker = EngineThread(lambda: make_engine(n_slots=2))
    yield worker
    worker.close()


def ask(worker: EngineThread, **sampling: Any) -> str:
    return "".join(worker.submit(Request(parts=QUESTION, sampling=replace(GREEDY, **sampling))))


def within(seconds: float, function: Callable[[], object]) -> list[BaseException | object]:
    """What a function returns or raises in a thread of its own, which must end soon."""
    came: list[BaseException | object] = []

    def run() -> None:
        try:
            came.append(function())
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert came, "it still waits"
    return came


def test_what_breaks_while_a_token_is_chosen_spares_the_other_answers(
    worker: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ask(worker)
    healthy, broken = (worker.submit(Request(parts=QUESTION, sampling=sampling)) for sampling in (GREEDY, ENDLESS))
    task = worker.engine._tasks[broken.sequence.id]
    monkeypatch.setattr(type(task), "reason_to_end", _breaking(type(task).reason_to_end, broken.sequence))
    with pytest.raises(EngineError, match=r"ZeroDivisionError"):
        "".join(broken)
    assert "".join(healthy) == right


def _breaking(reason_to_end: Callable[..., object], victim: object) -> Callable[..., object]:
    def broken(task: object, sequence: object, limit: int) -> object:
        return 1 // 0 if sequence is victim else reason_to_end(task, sequence, limit)

    return broken


def test_closing_ends_answers_that_another_thread_reads() -> None:
    worker = EngineThread(make_engine)
    ticket = worker.submit(Request(parts=QUESTION, sampling=ENDLESS))
    begun = threading.Event()

    def read(ticket: Ticket) -> None:
        for _ in ticket:
            begun.set()

    came: list[BaseException | object] = []
    reader = threading.Thread(target=lambda: came.extend(within(60, lambda: read(ticket))), daemon=True)
    reader.start()
    assert begun.wait(60)
    within(30, worker.close)
    reader.join(30)
    assert not reader.is_alive()
    assert came == [None] or isinstance(came[0], EngineError)


def test_a_dead_thread_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = EngineThread(make_engine)
    engine = worker.engine
    ticket = worker.submit(Request(parts=QUESTION, sampling=ENDLESS))

    def die() -> None:
        raise MemoryError("no room for a step")

    monkeypatch.setattr(engine, "step", die)
    (error,) = within(30, lambda: "".join(ticket))
    assert isinstance(error, MemoryError)
    (error,) = within(30, lambda: ask(worker))
    assert isinstance(error, EngineError)
    assert str(error) == "the model is closed"
    within(30, worker.close)
