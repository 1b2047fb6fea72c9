"""A model that nobody holds any more is freed, and one that is open when the interpreter ends is closed."""

from __future__ import annotations

import atexit
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ggufvlm.engine.thread import EngineThread
    from ggufvlm.llama.cancellation import CancelToken

_PATIENCE = 10.0
"""Seconds that are waited for the end of a model that nobody holds any more, which goes on ending by itself: the thread
that waits may hold a lock that the other waits for."""


class _Closable(Protocol):
    def close(self) -> None: ...


_open: weakref.WeakSet[_Closable] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Running:
    """What has to end with a model. It does not hold the model itself.

    Attributes:
        cancel: ends loading.
        expected: what loading may wait for.
        worker: the engine's thread.
    """

    cancel: CancelToken
    expected: Future[Any]
    worker: EngineThread

    def end(self, patience: float | None = None) -> None:
        """Stop and free everything.

        Args:
            patience: seconds after which it is left to itself; without end by default.
        """
        self.cancel.cancel()
        if not self.expected.done():
            self.expected.set_result(())
        self.worker.close(patience)

    def end_with(self, owner: _Closable) -> weakref.finalize[[float], _Closable]:
        """Have it end when nobody holds ``owner`` any more, and close that at the end of the interpreter.

        Returns:
            What to give to :func:`forget` once it is closed.
        """
        finalizer = weakref.finalize(owner, self.end, _PATIENCE)
        finalizer.atexit = False
        _open.add(owner)
        return finalizer


def forget(owner: _Closable, finalizer: weakref.finalize[[float], _Closable]) -> None:
    """Nothing has to be done any more when ``owner`` goes."""
    finalizer.detach()
    _open.discard(owner)


@atexit.register
def _close_all() -> None:
    for owner in tuple(_open):
        owner.close()
