"""What a run and the engine's process say to each other: objects with their length in front."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from ggufvlm import errors
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError, GGUFVLMError, MissingExtra
from ggufvlm.models.resolve import ModelFiles
from ggufvlm.vlm.answer import Answer

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Begin:
    """Which model to load, and how."""

    files: ModelFiles
    config: EngineConfig
    raw: bool
    debug: bool

    @staticmethod
    def n_ahead(config: EngineConfig) -> int:
        """Questions in the engine's hands: every slot, and two that wait."""
        return config.n_slots + 2


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class More:
    """From below: there is room for another question."""


@dataclass(frozen=True, slots=True)
class End:
    """From above: no more questions in this round. From below: all of them are answered."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in plain words: exceptions of other processes cannot always be rebuilt."""

    name: str
    text: str
    hint: str | None

    @classmethod
    def of(cls, error: GGUFVLMError) -> Failure:
        """What to send of an error."""
        return cls(type(error).__name__, str(error), error.hint)

    def error(self) -> GGUFVLMError:
        """The error again."""
        kind = getattr(errors, self.name, EngineError)
        return (EngineError if kind is MissingExtra else kind)(self.text, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to a question, or why there is none."""

    number: int
    answer: Answer | None
    failure: Failure | None


def write_message(pipe: IO[bytes], message: object) -> None:
    """Raises: OSError, nobody reads."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> Any:
    """Raises: EOFError, nobody writes any more."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)
