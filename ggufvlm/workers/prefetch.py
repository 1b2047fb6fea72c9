"""Work done ahead in threads, as much as a bound of memory allows: images that are read while a model answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar, cast

Item = TypeVar("Item")
Value = TypeVar("Value")

Reserve: TypeAlias = Callable[[int], None]
"""To be told, at most once and before the memory is taken, how many bytes the work on an item takes; it waits."""

_THREADS = 2


class Budget:
    """Bytes that may be held at a time. What is larger than all of them is let in alone, so that work always goes on.

    Who waits is let in in the order of arrival: small things never keep a large one out.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    @property
    def held(self) -> int:
        """Bytes that were taken and not given back yet."""
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be let in before something is given back."""
        return self._held > 0 and self._held >= self._limit

    @property
    def n_waiting(self) -> int:
        """How many threads wait in :meth:`take`."""
        return len(self._waiting)

    def take(self, n_bytes: int) -> None:
        """Wait until there is room for so many bytes, or nothing is held.

        Raises:
            CancelledError: the budget was closed meanwhile.
        """
        place = object()
        with self._changed:
            self._waiting.append(place)
            try:
                self._changed.wait_for(lambda: self._is_closed or (self._waiting[0] is place and self._fits(n_bytes)))
                if self._is_closed:
                    raise CancelledError
                self._held += n_bytes
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()

    def add(self, n_bytes: int) -> None:
        """Count bytes that are held whether there is room or not."""
        with self._changed:
            self._held += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Say that so many bytes are held no more."""
        with self._changed:
            self._held -= n_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _fits(self, n_bytes: int) -> bool:
        return not self._held or self._held + n_bytes <= self._limit


@dataclass(eq=False, slots=True)
class Prefetched(Generic[Item, Value]):
    """An item whose work is done, or has failed.

    Attributes:
        item: what was worked on.
        n_bytes: memory that counts as held until :meth:`Prefetch.release`.
        value: what the work returned, if it did not fail.
        error: what the work raised.
    """

    item: Item
    n_bytes: int = 0
    value: Value | None = None
    error: BaseException | None = None

    def result(self) -> Value:
        """What the work returned.

        Raises:
            BaseException: what the work raised.
        """
        if self.error is not None:
            raise self.error
        return cast(Value, self.value)


class Prefetch(Generic[Item, Value]):
    """Does the work on items in two threads, ahead of who iterates. Items come as they are finished.

    Iterating releases each item. Close it in the end: that lets the threads go.

    Args:
        items: taken one by one in the thread of who iterates, and only while there is room.
        work: done for each item; it is also given the function by which it reserves memory.
        budget: the memory that items may hold until they are released.
        max_items: how many items may be taken and not released.
        size: bytes of memory that an item holds already when it is taken. Where that is more than none, the work is
            taken to cost nothing, and is done at once by who iterates.
        on_done: called with each finished item, from any thread, in place of iterating; :meth:`fill` then has to be
            called whenever items were released, and each item has to be released.

    Attributes:
        n_held: items that were taken and not released.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item, Reserve], Value],
        *,
        budget: Budget,
        max_items: int,
        size: Callable[[Item], int] = lambda _item: 0,
        on_done: Callable[[Prefetched[Item, Value]], None] | None = None,
    ) -> None:
        self._budget = budget
        self.n_held = 0
        self._items = iter(items)
        self._work = work
        self._max_items = max_items
        self._size = size
        self._finished: SimpleQueue[Prefetched[Item, Value]] = SimpleQueue()
        self._on_done = on_done or self._finished.put
        self._pool = ThreadPoolExecutor(_THREADS, "ggufvlm-prefetch")

    def __iter__(self) -> Iterator[Prefetched[Item, Value]]:
        self.fill()
        while self.n_held:
            finished = self._finished.get()
            self.release(finished)
            yield finished
            self.fill()

    def fill(self) -> None:
        """Take as many items as there is room for, and have their work begun."""
        while self.n_held < self._max_items and not self._budget.is_full:
            try:
                item = next(self._items)
            except StopIteration:
                return
            self.n_held += 1
            taken: Prefetched[Item, Value] = Prefetched(item, self._size(item))
            if taken.n_bytes:
                self._budget.add(taken.n_bytes)
                self._do(taken)
            else:
                self._pool.submit(self._do, taken)

    def release(self, done: Prefetched[Item, Value]) -> None:
        """Make room: an item's memory is in use no more, or counted by somebody else."""
        self.n_held -= 1
        self._budget.give_back(done.n_bytes)

    def close(self) -> None:
        """Let the threads go; what waits for memory or for a thread is given up."""
        self._budget.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, taken: Prefetched[Item, Value]) -> None:
        def reserve(n_bytes: int) -> None:
            self._budget.take(n_bytes)
            taken.n_bytes = n_bytes

        try:
            taken.value = self._work(taken.item, reserve)
        except BaseException as error:  # noqa: BLE001 - for who asks for the result
            taken.error = error
        self._on_done(taken)
