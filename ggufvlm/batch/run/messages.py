"""What a run and the engine's process say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.config import EngineConfig
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.answer import Answer
from ggufvlm.vlm.examples import Example
from ggufvlm.workers.framing import Failure


@dataclass(frozen=True, slots=True)
class Begin:
    """Which model to load, and how."""

    files: ModelFiles
    config: EngineConfig
    raw: bool
    debug: bool
    examples: tuple[Example, ...] = ()

    @staticmethod
    def n_ahead(config: EngineConfig) -> int:
        """Questions in the engine's hands: every slot, and two that wait."""
        return config.n_slots + 2


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded.

    Attributes:
        warnings: what is to be known of it, a line each.
    """

    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class More:
    """From below: there is room for another question."""


@dataclass(frozen=True, slots=True)
class End:
    """From above: no more questions in this round. From below: all of them are answered."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to a question, or why there is none."""

    number: int
    answer: Answer | None
    failure: Failure | None
