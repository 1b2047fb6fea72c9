"""In the engine's process: whether the engine's thread comes back from its steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ggufvlm.errors import EngineError
from ggufvlm.vlm.vlm import VLM


class EngineProbe:
    """Asks the engine's thread for nothing, and sees how long that takes.

    Args:
        vlm: the model whose engine it is.
        on_end: told, from another thread, when the engine has ended without a word.
    """

    def __init__(self, vlm: VLM, on_end: Callable[[EngineError], None]) -> None:
        self._vlm = vlm
        self._on_end = on_end
        self._asked_at: float | None = None

    def seconds_unanswered(self) -> float:
        """For how long the engine's thread has not answered; asks again if it has."""
        asked_at = self._asked_at
        if asked_at is not None:
            return time.monotonic() - asked_at
        self._asked_at = time.monotonic()
        threading.Thread(target=self._ask, name="ggufvlm-probe", daemon=True).start()
        return 0.0

    def _ask(self) -> None:
        try:
            self._vlm.in_engine_thread(lambda _engine: None)
        except EngineError as error:
            self._on_end(error)
        else:
            self._asked_at = None
