"""Reads the header of a GGUF file: version, key-value pairs, tensor descriptions. Never the weights.

The format is the one that llama.cpp's ``ggml/include/gguf.h`` describes and ``ggml/src/gguf.cpp`` reads. A header is
hostile input: every count and length is bounded before memory is spent on it, and whatever is wrong with a file
becomes one :class:`~ggufvlm.errors.ModelError` that names the file and the byte.

A vocabulary (two arrays of some 150,000 strings) is walked over, not kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from struct import Struct
from typing import NoReturn, Protocol, TypeAlias

from ggufvlm.errors import ModelError

MAX_KEPT_ELEMENTS = 4096
"""An array with more elements is reported as a :class:`BigArray`: its type and its length."""

_MAX_HEADER, _MAX_KEPT_BYTES, _MAX_STRINGS = 1 << 30, 64 << 20, 1 << 24
_MAX_PAIRS, _MAX_TENSORS, _MAX_DIMS = 1 << 16, 1 << 17, 4
_MAX_KEY, _MAX_STRING, _MAX_TENSOR_NAME = 65_535, 16 << 20, 63  # 63: GGML_MAX_NAME less its terminating zero
_AGAIN = "download the file again"
_MISTAKEN = {
    b"version https://": "a Git LFS pointer, the model itself was not fetched",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"tjgg": "in the format that came before GGUF",
}

_U64, _ARRAY, _PREAMBLE = Struct("<Q"), Struct("<IQ"), Struct("<4xIqq")
STRING_TYPE, ARRAY_TYPE = 8, 9
# enum gguf_type: number in the file -> name, struct code
SCALAR_TYPES = {0: ("uint8", "B"), 1: ("int8", "b"), 2: ("uint16", "H"), 3: ("int16", "h"), 4: ("uint32", "I")}
SCALAR_TYPES |= {5: ("int32", "i"), 6: ("float32", "f"), 7: ("bool", "?")}
SCALAR_TYPES |= {10: ("uint64", "Q"), 11: ("int64", "q"), 12: ("float64", "d")}
# enum ggml_type of ggml.h -> elements in a block, bytes of a block (sizes from ggml-common.h)
_BLOCKS = {
    ggml_type: (block, n_bytes)
    for block, types in (
        (1, {0: 4, 1: 2, 30: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8}),  # F32 F16 BF16 I8 I16 I32 I64 F64
        (32, {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 9: 36}),  # Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1
        (256, {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292}),  # Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K
        (256, {16: 66, 17: 74, 18: 98, 19: 50, 29: 56}),  # IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ1_M
        (256, {21: 110, 22: 82, 23: 136, 34: 54, 35: 66}),  # IQ3_S IQ2_S IQ4_XS TQ1_0 TQ2_0
        (32, {20: 18, 39: 17}),  # IQ4_NL MXFP4
        (64, {40: 36, 42: 18}),  # NVFP4 Q2_0
        (128, {41: 18}),  # Q1_0
    )
    for ggml_type, n_bytes in types.items()
}


@dataclass(frozen=True, kw_only=True)
class BigArray:
    """An array that was skipped: what its elements are, and how many."""

    element_type: str
    count: int


Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | tuple[Scalar, ...] | BigArray


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor: its shape in ggml's order (rows last), its type number, its place in the data section."""

    shape: tuple[int, ...]
    ggml_type: int
    offset: int

    @property
    def n_bytes(self) -> int | None:
        """Size of its data; None for a type this version does not know."""
        block = _BLOCKS.get(self.ggml_type)
        return None if block is None else prod(self.shape) // block[0] * block[1]


@dataclass(frozen=True, kw_only=True)
class GGUFHeader:
    """What :func:`read_header` found. ``types`` holds each value's type as a word: ``uint32``, ``string``, ``[int32]``.

    ``complete`` is False if reading stopped at the vocabulary: then later keys are absent, ``tensors`` is empty and
    ``data_offset`` is 0.
    """

    name: str
    version: int
    metadata: Mapping[str, Value]
    types: Mapping[str, str]
    tensors: Mapping[str, TensorInfo]
    data_offset: int
    file_size: int
    complete: bool

    @property
    def architecture(self) -> str | None:
        name = self.text("general.architecture") or ""
        return name if name.isprintable() and 0 < len(name) <= 64 else None

    @property
    def is_projector(self) -> bool:
        return self.architecture == "clip" or self.text("general.type") == "mmproj"

    @property
    def chat_template(self) -> str | None:
        return self.text("tokenizer.chat_template")

    @property
    def size_needed(self) -> int | None:
        """Bytes that the file must have; None if that is not known (not complete, or a tensor of an unknown type)."""
        ends = [tensor.offset + n for tensor in self.tensors.values() if (n := tensor.n_bytes) is not None]
        if not self.complete or len(ends) < len(self.tensors):
            return None
        return self.data_offset + max(ends, default=0)

    def text(self, key: str) -> str | None:
        """The value of ``key`` if it is a string that is not empty."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) and value else None

    def integer(self, key: str) -> int | None:
        """The value of ``key`` if it is a whole number."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class ByteSource(Protocol):
    """Where a header is read from: a local file, or a remote one by range requests."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, n: int) -> bytes:
        """``n`` bytes from ``offset``; fewer only where the file ends."""
        ...


class FileSource:
    """A local file as a :class:`ByteSource`. Raises OSError as ``open`` does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, n: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(n)

    def close(self) -> None:
        self._file.close()


class _Cursor:
    """Moves forward through a header, in windows: neither a disk nor a server is asked for single values."""

    def __init__(self, source: ByteSource, name: str) -> None:
        self.name = name
        self.size = source.size
        self._source = source
        self._window = b""
        self._start = self._pos = 0
        self._step = 1 << 16
        self._kept = self._strings = 0

    @property
    def offset(self) -> int:
        return self._start + self._pos

    def damaged(self, why: str) -> NoReturn:
        raise ModelError(f"{self.name}: damaged at byte {self.offset}: {why}", hint=_AGAIN)

    def take(self, n: int) -> bytes:
        if self._pos + n > len(self._window):
            self._refill(n)
        start, self._pos = self._pos, self._pos + n
        return self._window[start : self._pos]

    def keep(self, n: int, values: int = 1) -> bytes:
        """As :meth:`take`, for bytes that stay in memory as values."""
        self._kept += n + 48 * values
        if self._kept > _MAX_KEPT_BYTES:
            self.damaged("more metadata than any model has")
        return self.take(n)

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def string(self, limit: int) -> str:
        length = int.from_bytes(self.take(8), "little")
        if length > limit:
            self.damaged(f"a text of {length:,} bytes where {limit:,} are allowed")
        return self.keep(length).decode(errors="backslashreplace")

    def skip(self, n: int) -> None:
        self._check(self.offset + n)
        self._pos += n

    def skip_strings(self, count: int) -> None:
        self._strings += count
        if self._strings > _MAX_STRINGS:
            self.damaged(f"an array of {count:,} texts")
        unpack = _U64.unpack_from
        while count:
            if self._pos + 8 > len(self._window):
                self._refill(8)
            window, pos, last = self._window, self._pos, len(self._window) - 8
            while count and pos <= last:
                pos += 8 + unpack(window, pos)[0]
                count -= 1
            self._check(self._start + pos)
            self._pos = pos

    def _refill(self, n: int) -> None:
        offset = self.offset
        self._check(offset + n)
        self._window = self._source.read(offset, max(n, min(self._step, self.size - offset)))
        self._start, self._pos = offset, 0
        self._step = min(2 * self._step, 1 << 22)
        if len(self._window) < n:
            self.truncated()

    def _check(self, end: int) -> None:
        if end > _MAX_HEADER:
            self.damaged("a length beyond any header")
        if end > self.size:
            self.truncated()

    def truncated(self) -> NoReturn:
        raise ModelError(f"{self.name}: truncated: the file ends at byte {self.size}, inside its header", hint=_AGAIN)


def read_header(source: Path | ByteSource, *, name: str | None = None, stop_at_vocabulary: bool = False) -> GGUFHeader:
    """Read the header of a GGUF file, version 2 or 3, little-endian.

    Args:
        source: the file, or where its bytes come from.
        name: how errors call the file; by default the file's name.
        stop_at_vocabulary: end at the first array of more than :data:`MAX_KEPT_ELEMENTS`; it is not ``complete`` then.

    Raises:
        ModelError: no such file, not readable, not a GGUF file, damaged, or truncated inside its header.
    """
    if not isinstance(source, Path):
        return _read(_Cursor(source, name or "GGUF file"), stop_at_vocabulary)
    name = name or source.name
    try:
        with closing(FileSource(source)) as file:
            return _read(_Cursor(file, name), stop_at_vocabulary)
    except FileNotFoundError:
        raise ModelError(f"no such model file: {source}", hint="check the path") from None
    except OSError as error:
        raise ModelError(f"{name}: cannot be read: {error.strerror}") from error


def _read(cursor: _Cursor, stop_at_vocabulary: bool) -> GGUFHeader:
    version, n_tensors, n_pairs = _preamble(cursor)
    metadata: dict[str, Value] = {}
    types: dict[str, str] = {}
    complete = _fill(metadata, types, cursor, n_pairs, stop_at_vocabulary)
    alignment = _alignment(cursor, metadata, types)
    tensors = _tensors(cursor, n_tensors) if complete else {}
    _check_layout(cursor.name, tensors, alignment)
    end_of_header = padded(cursor.offset, alignment) if tensors else cursor.offset
    return GGUFHeader(
        name=cursor.name,
        version=version,
        metadata=metadata,
        types=types,
        tensors=tensors,
        data_offset=end_of_header if complete else 0,
        file_size=cursor.size,
        complete=complete,
    )


def _preamble(cursor: _Cursor) -> tuple[int, int, int]:
    start = cursor.take(min(_PREAMBLE.size, cursor.size))
    if not start.startswith(b"GGUF"):
        raise ModelError(f"{cursor.name}: not a GGUF file{_what_else(start)}", hint=_AGAIN)
    if len(start) < _PREAMBLE.size:
        cursor.truncated()
    version, n_tensors, n_pairs = _PREAMBLE.unpack(start)
    if version and not version & 0xFFFF:
        raise ModelError(f"{cursor.name}: a big-endian GGUF file, made for another kind of machine")
    if version not in (2, 3):
        raise ModelError(f"{cursor.name}: GGUF version {version}, and only 2 and 3 can be read")
    if not 0 <= n_tensors <= _MAX_TENSORS or not 0 <= n_pairs <= _MAX_PAIRS:
        cursor.damaged(f"{n_tensors:,} tensors and {n_pairs:,} keys")
    return version, n_tensors, n_pairs


def _what_else(start: bytes) -> str:
    if not start:
        return ": it is empty"
    return next((f": it is {what}" for magic, what in _MISTAKEN.items() if start.lower().startswith(magic)), "")


def _fill(metadata: dict[str, Value], types: dict[str, str], cursor: _Cursor, n: int, stop: bool) -> bool:
    """Read ``n`` pairs; False if the vocabulary was reached and ``stop`` is set."""
    for _ in range(n):
        key = cursor.string(_MAX_KEY)
        if not key or key in metadata:
            cursor.damaged(f"the key {_shown(key)} a second time" if key else "a key without a name")
        number = cursor.u32()
        if number != ARRAY_TYPE:
            types[key], metadata[key] = _scalar(cursor, number, key)
            continue
        element, count = _ARRAY.unpack(cursor.take(12))
        if stop and count > MAX_KEPT_ELEMENTS:
            return False
        types[key], metadata[key] = _array(cursor, element, count, key)
    return True


def _scalar(cursor: _Cursor, number: int, key: str) -> tuple[str, Scalar]:
    if number == STRING_TYPE:
        return "string", cursor.string(_MAX_STRING)
    if number not in SCALAR_TYPES:
        cursor.damaged(f"the key {_shown(key)} has the unknown type {number}")
    word, code = SCALAR_TYPES[number]
    struct = Struct(f"<{code}")
    value: Scalar = struct.unpack(cursor.keep(struct.size))[0]
    return word, value


def _array(cursor: _Cursor, number: int, count: int, key: str) -> tuple[str, Value]:
    if number == STRING_TYPE:
        if count > MAX_KEPT_ELEMENTS:
            cursor.skip_strings(count)
            return "[string]", BigArray(element_type="string", count=count)
        return "[string]", tuple(cursor.string(_MAX_STRING) for _ in range(count))
    if number not in SCALAR_TYPES:
        what = "is an array of arrays" if number == ARRAY_TYPE else f"is an array of the unknown type {number}"
        cursor.damaged(f"the key {_shown(key)} {what}")
    word, code = SCALAR_TYPES[number]
    if count > MAX_KEPT_ELEMENTS:
        cursor.skip(count * Struct(f"<{code}").size)
        return f"[{word}]", BigArray(element_type=word, count=count)
    struct = Struct(f"<{count}{code}")
    return f"[{word}]", struct.unpack(cursor.keep(struct.size, count))


def _alignment(cursor: _Cursor, metadata: Mapping[str, Value], types: Mapping[str, str]) -> int:
    value = metadata.get("general.alignment", 32)
    if not isinstance(value, int) or types.get("general.alignment", "uint32") != "uint32":
        cursor.damaged("general.alignment is not a uint32")
    if value <= 0 or value & (value - 1):
        cursor.damaged(f"general.alignment is {value}, not a power of 2")
    return value


def _tensors(cursor: _Cursor, n: int) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    layouts = [Struct(f"<{n_dims}qiQ") for n_dims in range(_MAX_DIMS + 1)]
    for _ in range(n):
        name = cursor.string(_MAX_TENSOR_NAME)
        if name in tensors:
            cursor.damaged(f"the tensor {_shown(name)} a second time")
        n_dims = cursor.u32()
        if n_dims > _MAX_DIMS:
            cursor.damaged(f"the tensor {_shown(name)} has {n_dims} dimensions")
        layout = layouts[n_dims]
        *shape, ggml_type, offset = layout.unpack(cursor.take(layout.size))
        if any(side < 0 for side in shape) or prod(shape) >= 1 << 63:
            cursor.damaged(f"the tensor {_shown(name)} has the shape {shape}")
        tensors[name] = TensorInfo(shape=tuple(shape), ggml_type=ggml_type, offset=offset)
    return tensors


def _check_layout(name: str, tensors: Mapping[str, TensorInfo], alignment: int) -> None:
    """Tensors must follow each other without gaps: llama.cpp refuses a file where they do not."""
    expected = 0
    for title, tensor in tensors.items():
        block = _BLOCKS.get(tensor.ggml_type)
        if block is None:
            return
        row = tensor.shape[0] if tensor.shape else 1
        if row % block[0] or tensor.offset != expected:
            why = f"has rows of {row}" if row % block[0] else f"starts at {tensor.offset} instead of {expected}"
            raise ModelError(f"{name}: damaged: the tensor {_shown(title)} {why}", hint=_AGAIN)
        expected = padded(expected + (tensor.n_bytes or 0), alignment)


def padded(n: int, alignment: int) -> int:
    """A number of bytes, rounded up to a multiple of the alignment."""
    return -(-n // alignment) * alignment


def _shown(text: str) -> str:
    """A name out of the file, fit for one line of a terminal."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
