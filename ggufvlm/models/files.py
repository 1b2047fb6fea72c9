"""The two files that make a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ggufvlm.models.schema import ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A language model and its projector on disk.

    Attributes:
        name: what to call the pair.
        spec: what the registry knows of it, ``None`` for a stranger.
    """

    name: str
    model: Path
    mmproj: Path
    spec: ModelSpec | None = None
