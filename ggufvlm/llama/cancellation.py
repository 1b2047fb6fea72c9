"""How work that takes long is told to stop: loading a model, trying and deriving a projector. Without llama.cpp."""

from __future__ import annotations

import threading

from ggufvlm.errors import EngineError


class LoadAborted(EngineError):  # noqa: N818 - reads as what happened
    """Loading was stopped on request."""


class CancelToken:
    """Is given to work that takes long, and tells it to stop soon. Any thread or signal handler may cancel it."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Make the work end soon, with an error."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._cancelled.is_set()

    def check(self, work: str = "loading the model") -> None:
        """Go on, or not.

        Args:
            work: what is being done, for the error.

        Raises:
            LoadAborted: the token is cancelled.
        """
        if self.is_cancelled:
            raise LoadAborted(f"{work} was stopped")
