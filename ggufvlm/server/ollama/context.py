"""``context`` of ``/api/generate``: a prompt and its answer as numbers, which go before the next prompt if sent back.

Texts are the model's tokens. Where an image stood are five numbers that are no tokens of any model, made of the sha256
of its file. The server keeps the files for a while; where one is gone, or was another server's, the context is
refused. (Ollama writes the word ``[img-0]`` in its place, so that the model sees no image when it is sent back.)
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ggufvlm.errors import UsageError
from ggufvlm.server.contract import NotServed

Earlier = tuple[tuple[int, ...] | bytes, ...]
"""Tokens, and image files where images stood; as :class:`.contract.ClientQuestion` has it."""

_OF_IMAGE = 1 << 30  # above all vocabularies, and within the 32 bits with sign that some clients have for a number
_N_NUMBERS, _BYTES_EACH = 5, 3
_MOST_NUMBERS = 1 << 20
_WAY_OUT = "/api/chat takes the dialogue itself, with its images"


class ContextImages:
    """Images of contexts that clients have, those that were asked about least lately going first. For any thread.

    Args:
        most_bytes: of all files together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._files: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, file: bytes) -> bytes:
        """Keep an image file; returns its name."""
        name = hashlib.sha256(file).digest()[: _N_NUMBERS * _BYTES_EACH]
        with self._lock:
            if self._files.pop(name, None) is None:
                self._n_bytes += len(file)
            self._files[name] = file
            while self._n_bytes > self._most_bytes:
                _, oldest = self._files.popitem(last=False)
                self._n_bytes -= len(oldest)
        return name

    def get(self, name: bytes) -> bytes | None:
        """The file of this name, if it is still there."""
        with self._lock:
            if name in self._files:
                self._files.move_to_end(name)
            return self._files.get(name)


def written_context(runs: Sequence[Sequence[int]], files: Sequence[bytes], images: ContextImages) -> list[int]:
    """The numbers that a client gets.

    Args:
        runs: tokens, cut where an image stands.
        files: of these images, in order; they are kept.
        images: keeps them.
    """
    numbers = [*runs[0]]
    for file, run in zip(files, runs[1:], strict=True):
        numbers += _numbers(images.put(file))
        numbers += run
    return numbers


def read_context(given: Any, images: ContextImages) -> Earlier:
    """What a client's numbers stand for. Whether the model has such tokens is not known here.

    Args:
        given: the field.
        images: has the files.

    Raises:
        UsageError: it is no list of whole numbers that can be tokens.
        NotServed: an image of it is not kept any more.
    """
    if given is None:
        return ()
    if not isinstance(given, list) or not all(type(number) is int for number in given):
        raise UsageError('"context" must be a list of whole numbers')
    if len(given) > _MOST_NUMBERS:
        raise UsageError('"context" is too long')
    earlier: list[tuple[int, ...] | bytes] = []
    run: list[int] = []
    place = 0
    while place < len(given):
        if 0 <= given[place] < _OF_IMAGE:
            run.append(given[place])
            place += 1
            continue
        name = _name(given[place : place + _N_NUMBERS])
        if name is None:
            raise UsageError(f'"context" is damaged: {str(given[place])[:40]} at place {place} is no token')
        file = images.get(name)
        if file is None:
            raise NotServed('an image of this "context" is not kept here any more', param="context", hint=_WAY_OUT)
        earlier += [tuple(run), file] if run else [file]
        run = []
        place += _N_NUMBERS
    return (*earlier, tuple(run)) if run else tuple(earlier)


def _numbers(name: bytes) -> list[int]:
    """Each has its place among the five in it, so that a part of them is not taken for another image."""
    return [
        _OF_IMAGE | place << 8 * _BYTES_EACH | int.from_bytes(name[place * _BYTES_EACH :][:_BYTES_EACH], "big")
        for place in range(_N_NUMBERS)
    ]


def _name(numbers: Sequence[int]) -> bytes | None:
    low = (1 << 8 * _BYTES_EACH) - 1
    name = b"".join((number & low).to_bytes(_BYTES_EACH, "big") for number in numbers)
    return name if _numbers(name) == list(numbers) else None
