"""GGUF files that are whole and contradict themselves: numbers, shapes, names and types that cannot all be true."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from ggufvlm.gguf.header import SCALAR_TYPES, GGUFHeader, TensorInfo, read_header
from ggufvlm.gguf.writer import NewTensor, Pairs, copied, encode_value, read_pairs, write_gguf

_WHOLE_NUMBERS = (0, -1, 1, 2, 3, 7, 1 << 20, (1 << 31) - 1, 1 << 31)
_FRACTIONS = (0.0, -1.0, float("nan"), float("inf"), 1e38)
_TEXTS = ("", "\x1b]0;x\x07", "A" * 100_000)
_F32, _F16, _Q4_0, _I32, _BF16 = 0, 1, 2, 26, 30
_UNTOUCHED = ("general.", "tokenizer.chat_template")


@dataclass(frozen=True, kw_only=True)
class Lie:
    """One file with one thing wrong. ``what`` names that."""

    what: str
    pairs: Pairs
    tensors: Sequence[NewTensor]

    def data(self) -> bytes:
        """The whole file."""
        file = BytesIO()
        write_gguf(file, self.pairs, self.tensors)
        return file.getvalue()


def lies(path: Path, whole_numbers: Sequence[int] = _WHOLE_NUMBERS) -> Iterator[Lie]:
    """Every lie that can be told about a file: each key with other values and without, each kind of tensor likewise.

    Args:
        path: the honest file.
        whole_numbers: the values that keys with whole numbers get.
    """
    header = read_header(path)
    pairs, tensors = read_pairs(path, header), copied(path, header)
    for key in pairs:
        if not key.startswith(_UNTOUCHED):
            for what, told in _values(header, key, pairs[key], whole_numbers):
                yield Lie(what=f"{key} = {what}", pairs={**pairs, key: told}, tensors=tensors)
            yield Lie(what=f"no {key}", pairs={k: v for k, v in pairs.items() if k != key}, tensors=tensors)
    for index in _one_of_each_kind(tensors):
        for what, changed in _tensors(tensors, index):
            yield Lie(what=f"{tensors[index].name} {what}", pairs=pairs, tensors=changed)


def flipped(path: Path, seed: int) -> bytes:
    """The file with a few bytes of its header changed."""
    rnd = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(rnd.choice((1, 2, 5))):
        data[rnd.randrange(24, read_header(path).data_offset)] = rnd.choice((0, 1, 255, rnd.randrange(256)))
    return bytes(data)


def _values(header: GGUFHeader, key: str, raw: bytes, whole_numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    word = header.types[key]
    if word == "string":
        yield from ((repr(text[:9]), encode_value(word, text)) for text in _TEXTS)
    elif word == "bool":
        yield from ((str(value), encode_value(word, value)) for value in (True, False))
    elif word.startswith("float"):
        yield from ((str(value), encode_value(word, value)) for value in _FRACTIONS)
    elif word.startswith("["):
        yield from _arrays(raw)
    else:
        for value in whole_numbers:
            n_bytes = len(encode_value(word, 0)) - 4
            yield str(value), raw[:4] + (value & (256**n_bytes - 1)).to_bytes(n_bytes, "little")


def _arrays(raw: bytes) -> Iterator[tuple[str, bytes]]:
    element, count = struct.unpack_from("<IQ", raw, 4)
    head, values = raw[:8], raw[16:]
    yield "[]", head + struct.pack("<Q", 0)
    if element not in SCALAR_TYPES:
        return
    yield "all bits set", raw[:16] + b"\xff" * len(values)
    if count <= 4096:
        yield "all zero", raw[:16] + bytes(len(values))
        yield "50 times as long", head + struct.pack("<Q", 50 * count) + 50 * values
        yield "its first value", head + struct.pack("<Q", 1) + values[: len(values) // count]


def _one_of_each_kind(tensors: Sequence[NewTensor]) -> list[int]:
    kinds: dict[str, int] = {}
    for index, tensor in enumerate(tensors):
        kinds.setdefault(re.sub(r"\d+", "#", tensor.name), index)
    return list(kinds.values())


def _tensors(tensors: Sequence[NewTensor], index: int) -> Iterator[tuple[str, list[NewTensor]]]:
    honest = tensors[index]
    *others, last = honest.shape
    n_elements = 1
    for side in honest.shape:
        n_elements *= side
    shapes: Mapping[str, tuple[int, ...]] = {
        "transposed": honest.shape[::-1],
        "flat": (n_elements,),
        "half": (*others, max(1, last // 2)),
        "double": (*others, 2 * last),
        "empty": (*others, 0),
        "of four sides": (*honest.shape, *(1,) * (4 - len(honest.shape))),
    }
    told = [(what, replace(honest, shape=shape)) for what, shape in shapes.items() if shape != honest.shape]
    types = {"I32": _I32, "BF16": _BF16, "F16": _F16, "F32": _F32, "Q4_0": _Q4_0}
    told += [(f"in {what}", replace(honest, ggml_type=number)) for what, number in types.items()]
    told.append(("under another name", replace(honest, name=honest.name[:-1] + "x")))
    for what, tensor in told:
        if tensor.ggml_type != _Q4_0 or tensor.shape[0] % 32 == 0:
            yield what, [*tensors[:index], _filled(tensor, honest), *tensors[index + 1 :]]
    yield "left out", [*tensors[:index], *tensors[index + 1 :]]


def _filled(tensor: NewTensor, honest: NewTensor) -> NewTensor:
    n_bytes = TensorInfo(shape=tensor.shape, ggml_type=tensor.ggml_type, offset=0).n_bytes or 0
    return replace(tensor, data=lambda: (3 * bytes(honest.data()))[:n_bytes].ljust(n_bytes, b"\0"))
