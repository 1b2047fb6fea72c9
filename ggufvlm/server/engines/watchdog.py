"""In the server: ends an engine's process that does not answer any more, so that nobody waits for it indefinitely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ggufvlm.server.contract import Limits
from ggufvlm.server.engines.messages import Pong

_PINGS = 12
"""Unanswered ones that make a process hang. Counted and not timed: a machine that slept has not waited."""


class Watchdog:
    """Watches one process while it has questions.

    Args:
        limits: how long it may be silent, and how long at one piece of work.
        is_needed: whether it has questions.
        ping: asks it for a sign of life.
        end: ends it, and gets why in words.
    """

    def __init__(
        self, limits: Limits, is_needed: Callable[[], bool], ping: Callable[[], None], end: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._is_needed = is_needed
        self._ping = ping
        self._end = end
        self._n_unanswered = 0
        self._task = asyncio.ensure_future(self._watch())

    def heard(self, pong: Pong) -> None:
        """It lives. Whether what it is at will ever end is another question."""
        self._n_unanswered = 0
        if pong.reading > self._limits.silence:
            self._stop(f"it was reading one request for {pong.reading:.0f} s")
        elif pong.step > max(self._limits.seconds, self._limits.silence):  # longer than any answer may take
            self._stop(f"it was computing one step for {pong.step:.0f} s")

    def close(self) -> None:
        """Watch no more."""
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.silence / _PINGS)
            if not self._is_needed():
                self._n_unanswered = 0
                continue
            if self._n_unanswered >= _PINGS:
                self._stop(f"it did not answer for {self._limits.silence:g} s")
            self._n_unanswered += 1
            self._ping()

    def _stop(self, why: str) -> None:
        self.close()
        self._end(f"{why} and was ended")
