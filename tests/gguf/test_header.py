"""The GGUF reader: every kind of value, every kind of damage, and nothing but ModelError for hostile bytes."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufvlm.errors import ModelError
from ggufvlm.gguf.header import MAX_KEPT_ELEMENTS, BigArray, GGUFHeader, TensorInfo, read_header

WORDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array"]
WORDS += ["uint64", "int64", "float64"]
CODES = dict(zip(WORDS, "BbHhIif?  Qqd", strict=True))
STRING, ARRAY = 8, 9


class Bytes:
    """A ByteSource over bytes that counts what it is asked for."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data, self.size, self.asked = data, len(data) if size is None else size, 0

    def read(self, offset: int, n: int) -> bytes:
        assert n >= 0
        assert offset >= 0
        self.asked += n
        return self.data[offset : offset + n]


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(word: str, value: Any) -> bytes:
    return text(value) if word == "string" else struct.pack("<" + CODES[word], value)


def pair(key: str, word: str, value: Any) -> bytes:
    """``word`` as in GGUFHeader.types: ``uint32``, ``[string]``."""
    element = word.strip("[]")
    if element == word:
        return text(key) + struct.pack("<I", WORDS.index(word)) + scalar(word, value)
    head = struct.pack("<IIQ", ARRAY, WORDS.index(element), len(value))
    return text(key) + head + b"".join(scalar(element, item) for item in value)


def tensor(name: str, shape: tuple[int, ...], ggml_type: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}qIQ", len(shape), *shape, ggml_type, offset)


def gguf(
    pairs: list[bytes], tensors: list[bytes] | None = None, data: bytes = b"", version: int = 3, pad: int = 32
) -> bytes:
    tensors = tensors or []
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return head + bytes(-len(head) % pad if tensors else 0) + data


def header(data: bytes, **kwargs: Any) -> GGUFHeader:
    return read_header(Bytes(data), name="x.gguf", **kwargs)


def refusal(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        header(data)
    message = str(caught.value)
    assert message.startswith("x.gguf: ")
    assert "\n" not in message
    assert caught.value.exit_code == 4
    return message


ARCH = pair("general.architecture", "string", "qwen2vl")
VALUES = {
    "uint8": 255,
    "int8": -128,
    "uint16": 65_535,
    "int16": -32_768,
    "uint32": 2**32 - 1,
    "int32": -(2**31),
    "uint64": 2**64 - 1,
    "int64": -(2**63),
    "float32": 0.5,
    "float64": 0.1,
    "bool": True,
    "string": "Grüße",
}
WHOLE = gguf(
    [ARCH, *(pair(word, word, value) for word, value in VALUES.items()), pair("list", "[string]", ["a", "bc"])],
    [tensor("a", (32, 2), 8, 0), tensor("b", (4,), 0, 96)],
    bytes(96 + 16),
)


@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_value(version: int) -> None:
    pairs = [pair(word, word, value) for word, value in VALUES.items()]
    pairs += [pair(f"[{word}]", f"[{word}]", [value, value]) for word, value in VALUES.items()]
    found = header(gguf(pairs, version=version))
    assert found.version == version
    assert found.complete
    for word, value in VALUES.items():
        assert found.metadata[word] == value
        assert found.types[word] == word
        assert found.metadata[f"[{word}]"] == (value, value)
        assert found.types[f"[{word}]"] == f"[{word}]"


def test_tensors_and_the_size_they_need() -> None:
    found = header(WHOLE)
    assert found.architecture == "qwen2vl"
    assert found.tensors == {
        "a": TensorInfo(shape=(32, 2), ggml_type=8, offset=0),
        "b": TensorInfo(shape=(4,), ggml_type=0, offset=96),
    }
    assert found.tensors["a"].n_bytes == 68
    assert found.data_offset % 32 == 0
    assert found.size_needed == found.file_size == len(WHOLE)


def test_alignment_is_the_files_own() -> None:
    found = header(
        gguf([pair("general.alignment", "uint32", 64)], [tensor("a", (1,), 0, 0), tensor("b", (1,), 0, 64)], pad=64)
    )
    assert found.data_offset % 64 == 0
    assert found.size_needed == found.data_offset + 68


def test_a_tensor_type_of_the_future_leaves_the_size_open() -> None:
    found = header(gguf([ARCH], [tensor("a", (4,), 99, 0), tensor("b", (4,), 0, 7)]))
    assert found.tensors["a"].n_bytes is None
    assert found.size_needed is None


@pytest.mark.parametrize(("word", "value"), [("string", "ab"), ("float32", 1.0), ("int32", 7)])
def test_big_arrays_are_skipped(word: str, value: Any) -> None:
    n = MAX_KEPT_ELEMENTS + 1
    found = header(gguf([pair("many", f"[{word}]", [value] * n), ARCH]))
    assert found.metadata["many"] == BigArray(element_type=word, count=n)
    assert found.architecture == "qwen2vl"
    assert header(gguf([pair("few", f"[{word}]", [value] * (n - 1))])).metadata["few"] == (value,) * (n - 1)


def test_a_vocabulary_larger_than_any_window() -> None:
    tokens = ["x" * (i % 50) for i in range(50_000)] + ["y" * 300_000]
    data = gguf([ARCH, pair("tokenizer.ggml.tokens", "[string]", tokens), pair("last", "uint8", 9)])
    source = Bytes(data)
    assert read_header(source, name="x.gguf").metadata["last"] == 9
    assert source.asked < 2 * len(data)


def test_stopping_at_the_vocabulary() -> None:
    tokens = pair("tokenizer.ggml.tokens", "[string]", ["x"] * 20_000)
    data = gguf([ARCH, tokens, pair("tokenizer.chat_template", "string", "{{ x }}")], [tensor("a", (4,), 0, 0)])
    short = header(data, stop_at_vocabulary=True)
    assert (short.complete, short.architecture, short.chat_template) == (False, "qwen2vl", None)
    assert (short.tensors, short.size_needed) == ({}, None)
    assert header(data).chat_template == "{{ x }}"
    assert header(gguf([ARCH], [tensor("a", (4,), 0, 0)], bytes(16)), stop_at_vocabulary=True).complete


def test_projectors_are_recognized() -> None:
    assert header(gguf([pair("general.architecture", "string", "clip")])).is_projector
    assert header(gguf([ARCH, pair("general.type", "string", "mmproj")])).is_projector
    assert not header(gguf([ARCH])).is_projector


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a GGUF file: it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"tjgg" + bytes(40), "before GGUF"),
        (b"GGUF", "truncated"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (gguf([], version=1), "version 1"),
        (gguf([], version=4), "version 4"),
        (b"GGUF" + struct.pack("<Iqq", 3, -1, 0), "damaged at byte 24: -1 tensors"),
        (b"GGUF" + struct.pack("<Iqq", 3, 0, 2**40), "damaged"),
        (gguf([pair("", "uint8", 1)]), "without a name"),
        (gguf([ARCH, ARCH]), "'general.architecture' a second time"),
        (gguf([text("k") + struct.pack("<I", 13)]), "unknown type 13"),
        (gguf([text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1)]), "array of arrays"),
        (gguf([text("k") + struct.pack("<IIQ", ARRAY, 77, 1)]), "unknown type 77"),
        (gguf([text("k") + struct.pack("<IQ", STRING, 2**63)]), "allowed"),
        (gguf([text("k") + struct.pack("<IQ", STRING, 1000)]), "truncated"),
        (gguf([text("k") + struct.pack("<IIQ", ARRAY, STRING, 2**60)]), "damaged"),
        (gguf([text("k") + struct.pack("<IIQ", ARRAY, STRING, 2**20)]), "truncated"),
        (gguf([text("k") + struct.pack("<IIQQ", ARRAY, STRING, 2**20, 2**64 - 1)]), "damaged"),
        (gguf([text("k") + struct.pack("<IIQ", ARRAY, 6, 2**60)]), "damaged"),
        (gguf([text("k\n\x1b[31m") + struct.pack("<I", 99)]), r"'k\n\x1b[31m'"),
        (gguf([pair("general.alignment", "uint32", 0)]), "power of 2"),
        (gguf([pair("general.alignment", "uint32", 24)]), "power of 2"),
        (gguf([pair("general.alignment", "uint64", 32)]), "not a uint32"),
        (gguf([], [tensor("a" * 64, (1,), 0, 0)]), "64 bytes where 63"),
        (gguf([], [tensor("a", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions"),
        (gguf([], [tensor("a", (-1,), 0, 0)]), "shape"),
        (gguf([], [tensor("a", (2**62, 4), 0, 0)]), "shape"),
        (gguf([], [tensor("a", (33,), 8, 0)]), "rows of 33"),
        (gguf([], [tensor("a", (1,), 0, 32)]), "starts at 32 instead of 0"),
        (gguf([], [tensor("a", (1,), 0, 0), tensor("a", (1,), 0, 32)]), "'a' a second time"),
    ],
)
def test_refusals(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_truncated_anywhere_inside_the_header() -> None:
    end = header(WHOLE).data_offset - 32
    for cut in range(4, end):
        assert "truncated" in refusal(WHOLE[:cut])


def test_truncated_behind_the_header_shows_in_the_size() -> None:
    whole = header(WHOLE)
    short = header(WHOLE[:-1])
    assert short.size_needed == whole.file_size == short.file_size + 1


def test_a_source_that_ends_before_its_size() -> None:
    with pytest.raises(ModelError, match="truncated"):
        read_header(Bytes(WHOLE[:60], size=len(WHOLE)), name="x.gguf")


def test_local_files(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with pytest.raises(ModelError, match="no such model file"):
        read_header(path)
    path.write_bytes(WHOLE)
    assert read_header(path).name == "model.gguf"
    assert read_header(path, name="user/repo/model.gguf").name == "user/repo/model.gguf"
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path)


@pytest.mark.parametrize("name", ["tiny-qwen2vl-Q8_0.gguf", "mmproj-tiny-qwen2vl-F16.gguf"])
def test_the_model_that_ships_with_the_package(name: str) -> None:
    shipped = resources.files("ggufvlm") / "demo" / name
    found = header(shipped.read_bytes())
    assert found.size_needed == found.file_size
    assert found.is_projector == name.startswith("mmproj")
    assert bool(found.chat_template) != found.is_projector


def read_hostile(data: bytes) -> None:
    with suppress(ModelError):
        found = header(data)
        assert found.size_needed is None or found.size_needed >= 0
    with suppress(ModelError):
        header(data, stop_at_vocabulary=True)


@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    read_hostile(data)


@given(st.binary(max_size=400), st.integers(0, 2**20), st.integers(0, 2**20))
def test_random_bytes_behind_a_good_start(data: bytes, n_tensors: int, n_pairs: int) -> None:
    read_hostile(b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_pairs) + data)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=9)), max_size=4))
def test_mutated_headers(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(WHOLE)
    for offset, new in changes:
        data[offset : offset + len(new)] = new
    read_hostile(bytes(data))


def test_huge_claims_cost_no_memory() -> None:
    claims = [
        b"GGUF" + struct.pack("<IQQ", 3, 2**63 - 1, 2**63 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 2**17, 2**16) + ARCH,
        *(gguf([text("k") + struct.pack("<IIQ", ARRAY, n, 2**40)]) for n in (0, 6, 8, 10)),
        *(gguf([text("k") + struct.pack("<IQ", STRING, n)]) for n in (2**24, 2**40, 2**64 - 1)),
        gguf([ARCH], [tensor("a", (2**30, 2**30), 0, 0)]),
    ]
    tracemalloc.start()
    for data in claims:
        read_hostile(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_metadata_that_would_fill_the_memory_is_refused() -> None:
    empty = text("") * MAX_KEPT_ELEMENTS
    pairs = [text(f"{i}") + struct.pack("<IIQ", ARRAY, STRING, MAX_KEPT_ELEMENTS) + empty for i in range(400)]
    assert "more metadata" in refusal(gguf(pairs))
