"""How a parent and its child process talk: objects with their length in front, and errors in plain words."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from ggufvlm import errors
from ggufvlm.errors import EngineError, GGUFVLMError, MissingExtra

_LENGTH = struct.Struct("<Q")


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
