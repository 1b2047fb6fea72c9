"""A device that models can be computed on, as llama.cpp describes it. Who asks llama.cpp is :mod:`ggufvlm.llama`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceKind = Literal["cpu", "gpu", "igpu", "accel", "meta", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One device of one backend. Memory in bytes; ``None`` where it is not known."""

    name: str
    description: str
    kind: DeviceKind
    backend: str
    free: int | None = None
    total: int | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether it is a graphics processor, integrated ones included."""
        return self.kind in ("gpu", "igpu")

    @property
    def shares_memory(self) -> bool:
        """Whether its memory is the machine's ordinary memory."""
        return self.kind in ("cpu", "igpu", "accel") or self.backend.lower() in ("metal", "mtl")
