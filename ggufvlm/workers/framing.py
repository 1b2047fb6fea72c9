"""How a parent and its child process talk: pickled objects with their length in front, and errors in plain words."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from io import BufferedIOBase, RawIOBase
from typing import IO, Any

from ggufvlm import errors
from ggufvlm.errors import EngineError, GGUFVLMError, MissingExtra

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in plain words: exceptions of other processes cannot always be rebuilt.

    Attributes:
        name: the name of its class in :mod:`ggufvlm.errors`.
        text: its message.
        hint: the way out of it.
    """

    name: str
    text: str
    hint: str | None

    @classmethod
    def of(cls, error: GGUFVLMError) -> Failure:
        """The form in which an error is sent."""
        return cls(type(error).__name__, str(error), error.hint)

    def error(self) -> GGUFVLMError:
        """The error again, as an EngineError if its class is not one of :mod:`ggufvlm.errors`."""
        kind = getattr(errors, self.name, EngineError)
        return (EngineError if kind is MissingExtra else kind)(self.text, hint=self.hint)


def frame(message: object) -> tuple[bytes, bytes]:
    """A message as it goes through a pipe: its length in eight bytes, then the pickled object.

    Pickles run code when they are read: read them from nobody but one's own parent or child process.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)), data  # not in one piece: images are large


def write_message(pipe: IO[bytes], message: object) -> None:
    """Write a message at once.

    Raises:
        OSError: nobody reads.
    """
    pipe.writelines(frame(message))
    pipe.flush()


def read_message(pipe: BufferedIOBase | RawIOBase) -> Any:
    """Wait for a message and read it.

    Raises:
        EOFError: nobody writes any more.
    """
    (length,) = _LENGTH.unpack(_read_exactly(pipe, _LENGTH.size))
    return pickle.loads(_read_exactly(pipe, length))


def _read_exactly(pipe: BufferedIOBase | RawIOBase, n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    unread = memoryview(data)
    while unread:
        n_read = pipe.readinto(unread)
        if not n_read:
            raise EOFError
        unread = unread[n_read:]
    return data
