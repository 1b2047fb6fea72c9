"""How much decoded images may take: threads that read ahead wait while too much of it lies unused."""

from __future__ import annotations

import threading

READ_AHEAD_BYTES = 512 << 20
"""Of decoded images that wait for the engine."""


class Budget:
    """Bytes that are in hand. Something is let through whatever its size, so that a run always goes on.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = READ_AHEAD_BYTES) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._held = 0
        self._is_open = True

    @property
    def held(self) -> int:
        """Bytes in hand."""
        return self._held

    def take(self, n_bytes: int) -> None:
        """Wait until there is room for so much, or nothing else is in hand."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_open or not self._held or self._held + n_bytes <= self._limit)
            self._held += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Say that so much is in others' hands."""
        with self._changed:
            self._held -= n_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody through who waits."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
