"""What the server and an engine's process say to each other, in the frames of :mod:`ggufvlm.workers.framing`."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.config import EngineConfig
from ggufvlm.models.files import ModelFiles
from ggufvlm.server.contract import ClientQuestion, Done, Limits, Piece
from ggufvlm.workers.framing import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Down, first: which model, and how. Up comes :class:`EngineReady` or a :class:`Failure`.

    Attributes:
        aliases: other names of it, which clients may use.
    """

    files: ModelFiles
    config: EngineConfig
    limits: Limits
    raw: bool = False
    debug: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineReady:
    """Up: the model is loaded; a fraction of it, 0 to 1, on a GPU.

    Attributes:
        warnings: what is to be known of it, a line each.
    """

    on_gpu: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskQuestion:
    """Down: a question."""

    number: int
    asked: ClientQuestion


@dataclass(frozen=True, slots=True)
class Cancel:
    """Down: nobody wants the answer any more. :class:`QuestionDone` comes all the same."""

    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Down, again and again while there are questions: is anybody there? :class:`Pong` comes at once."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Up: for how many seconds the process has been at something.

    Attributes:
        reading: the question that is being read for longest.
        step: the engine's step.
    """

    reading: float
    step: float


@dataclass(frozen=True, slots=True)
class Started:
    """Up: the question was read and fits."""

    number: int


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """Up: what one step of the engine gave to several answers."""

    pieces: tuple[tuple[int, Piece], ...]


@dataclass(frozen=True, slots=True)
class QuestionDone:
    """Up, once for each question: how it was answered, or why there is no answer."""

    number: int
    done: Done | None
    failure: Failure | None = None


FromChild = EngineReady | Failure | Pong | Started | StepOutputs | QuestionDone
