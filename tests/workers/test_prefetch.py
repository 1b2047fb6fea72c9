"""Work done ahead keeps to its memory, loses nothing, and lets its threads go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.workers.prefetch import Budget, Prefetch, Prefetched, Reserve
from tests.support.running import wait_until

LIMIT = 100


@dataclass(frozen=True)
class Load:
    """An item: its memory, whether that is taken before any work, and whether its work fails."""

    number: int
    n_bytes: int
    is_in_memory: bool
    fails: bool


def work(item: Load, reserve: Reserve) -> int:
    if not item.is_in_memory:
        reserve(item.n_bytes)
    if item.fails:
        raise ValueError(str(item.number))
    return item.number


def size(item: Load) -> int:
    return item.n_bytes if item.is_in_memory else 0


def loads(in_memory: st.SearchStrategy[bool]) -> st.SearchStrategy[list[Load]]:
    one = st.tuples(st.integers(1, 150), in_memory, st.booleans())
    return st.lists(one, max_size=25).map(lambda all_: [Load(number, *given) for number, given in enumerate(all_)])


def outcome(done: Prefetched[Load, int]) -> int | str:
    try:
        return done.result()
    except ValueError as error:
        return str(error)


def expected(items: list[Load]) -> list[int | str]:
    return [str(item.number) if item.fails else item.number for item in items]


@settings(deadline=None)
@given(loads(st.booleans()), st.integers(1, 8))
def test_each_item_comes_once_with_its_own_result_or_error(items: list[Load], max_items: int) -> None:
    budget = Budget(LIMIT)
    with closing(Prefetch(items, work, budget=budget, max_items=max_items, size=size)) as prefetch:
        found = {done.item.number: outcome(done) for done in prefetch}
    assert [found[number] for number in range(len(items))] == expected(items)
    assert (budget.held, prefetch.n_held) == (0, 0)


@settings(deadline=None)
@given(loads(st.just(True)), st.integers(1, 8))
def test_what_needs_no_thread_keeps_its_order(items: list[Load], max_items: int) -> None:
    with closing(Prefetch(items, work, budget=Budget(LIMIT), max_items=max_items, size=size)) as prefetch:
        assert [outcome(done) for done in prefetch] == expected(items)


@settings(deadline=None, max_examples=40)
@given(loads(st.just(False)), st.integers(1, 8), st.integers(1, 4))
def test_never_more_is_held_than_the_bound_but_always_one(items: list[Load], max_items: int, n_kept: int) -> None:
    """Items are released late here, as by a model that answers several at a time."""
    finished, lock, held = SimpleQueue[Prefetched[Load, int]](), threading.Lock(), dict[int, int]()

    def work_and_count(item: Load, reserve: Reserve) -> int:
        reserve(item.n_bytes)
        with lock:
            held[item.number] = item.n_bytes
            assert len(held) == 1 or sum(held.values()) <= LIMIT
        return item.number

    prefetch = Prefetch(items, work_and_count, budget=Budget(LIMIT), max_items=max_items, on_done=finished.put)
    kept, numbers = list[Prefetched[Load, int]](), list[int]()
    with closing(prefetch):
        prefetch.fill()
        while prefetch.n_held:
            assert prefetch.n_held <= max_items
            if len(kept) < n_kept and prefetch.n_held > len(kept) and _next_comes(finished, kept):
                continue
            done = kept.pop(0)
            numbers.append(done.result())
            with lock:
                del held[done.item.number]
            prefetch.release(done)
            prefetch.fill()
    assert sorted(numbers) == list(range(len(items)))


def _next_comes(finished: SimpleQueue[Prefetched[Load, int]], kept: list[Prefetched[Load, int]]) -> bool:
    """Wait for the next one. It need not come while others hold the memory; while none does, it has to."""
    try:
        kept.append(finished.get(timeout=0.003 if kept else 60))
    except Empty:
        assert kept, "nothing is held, and nothing comes"
        return False
    return True


@settings(deadline=None, max_examples=40)
@given(loads(st.just(False)), st.integers(0, 5))
def test_ending_early_lets_the_threads_go(items: list[Load], n_taken: int) -> None:
    before = threading.active_count()
    with closing(Prefetch(items, work, budget=Budget(LIMIT), max_items=6)) as prefetch:
        for _ in zip(range(n_taken), prefetch, strict=False):
            pass
        prefetch.fill()
    wait_until(lambda: threading.active_count() <= before)


def test_items_are_taken_in_the_thread_of_who_iterates_and_only_while_there_is_room() -> None:
    threads, n_taken = set[int](), 0

    def items() -> Iterator[Load]:
        nonlocal n_taken
        for number in range(20):
            threads.add(threading.get_ident())
            n_taken += 1
            yield Load(number, 40, is_in_memory=True, fails=False)

    with closing(Prefetch(items(), work, budget=Budget(LIMIT), max_items=8, size=size)) as prefetch:
        for n_done, _ in enumerate(prefetch, 1):
            assert n_taken - n_done <= 3
    assert threads == {threading.get_ident()}


def test_an_error_of_the_source_is_raised_where_it_is_iterated() -> None:
    def items() -> Iterator[Load]:
        yield Load(0, 1, is_in_memory=False, fails=False)
        raise OSError("the table is damaged")

    with closing(Prefetch(items(), work, budget=Budget(LIMIT), max_items=1)) as prefetch:
        found = iter(prefetch)
        assert next(found).result() == 0
        with pytest.raises(OSError, match="damaged"):
            next(found)


def test_small_ones_do_not_keep_a_large_one_out() -> None:
    budget, entered = Budget(10), SimpleQueue[int]()

    def enter(n_bytes: int) -> None:
        budget.take(n_bytes)
        entered.put(n_bytes)

    budget.take(6)
    large, small = (threading.Thread(target=enter, args=(n,), daemon=True) for n in (50, 2))
    large.start()
    wait_until(lambda: budget.n_waiting == 1)
    small.start()
    wait_until(lambda: budget.n_waiting == 2)
    assert entered.empty()
    budget.give_back(6)
    assert entered.get(timeout=20) == 50
    budget.give_back(50)
    assert entered.get(timeout=20) == 2
    budget.close()
    with pytest.raises(CancelledError):
        budget.take(1)
