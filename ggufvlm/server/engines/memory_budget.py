"""Which models have to leave memory before another one comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ggufvlm.config import EngineConfig
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import split_parts
from ggufvlm.hardware.memory import DEFAULT_CTX, predict
from ggufvlm.hardware.offload import PROCESS
from ggufvlm.models.files import ModelFiles


def memory_needed(files: ModelFiles, config: EngineConfig) -> int:
    """Bytes that a model will take with its slots at work, as predicted from its headers.

    Raises:
        ModelError: a file is damaged.
    """
    headers, projector = [read_header(part) for part in split_parts(files.model)], read_header(files.mmproj)
    trained = headers[0].integer(f"{headers[0].architecture}.context_length") or DEFAULT_CTX
    n_ctx = config.n_ctx or min(trained, DEFAULT_CTX * config.n_slots)
    return predict(headers, projector, replace(config, n_ctx=n_ctx)).total + PROCESS


class MemoryBudget:
    """What the machine has for models.

    What the system calls free counts the pages of a loaded model's file as free too, so the models are also reckoned
    against what was free when none was loaded.

    Args:
        free: bytes that are free now; ``None`` if the system does not tell.
    """

    def __init__(self, free: Callable[[], int | None]) -> None:
        self._free = free
        self._free_without_models: int | None = None

    def fits(self, needed: int, loaded: int) -> bool:
        """Whether a model of ``needed`` bytes fits beside models that take ``loaded`` bytes."""
        free = self._free()
        if not loaded:
            self._free_without_models = free
        if free is None or self._free_without_models is None:
            return True
        return needed <= free and needed + loaded <= self._free_without_models
