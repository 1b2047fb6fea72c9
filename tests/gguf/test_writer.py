from __future__ import annotations

import io
from pathlib import Path

import pytest

from ggufvlm.errors import ModelError
from ggufvlm.files import replacing
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import NewTensor, copied, encode_value, read_pairs, write_gguf

DEMO = Path(__file__).parents[2] / "ggufvlm" / "demo"
FILES = sorted(DEMO.glob("*.gguf"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_copy_is_the_same_to_the_byte(path: Path) -> None:
    header = read_header(path)
    file = io.BytesIO()
    write_gguf(file, read_pairs(path, header), copied(path, header))
    assert file.getvalue() == path.read_bytes()


def test_every_type_of_value_can_be_read_back(tmp_path: Path) -> None:
    given: dict[str, tuple[str, object]] = {
        "general.architecture": ("string", "clip"),
        "a.text": ("string", "grüße"),
        "a.flag": ("bool", True),
        "a.byte": ("uint8", 200),
        "a.negative": ("int64", -(2**40)),
        "a.large": ("uint64", 2**63),
        "a.half": ("float64", 0.1),
        "a.layers": ("[int32]", (3, -1, 12)),
        "a.means": ("[float32]", (0.5, 0.25)),
        "a.words": ("[string]", ("one", "", "drei")),
    }
    path = tmp_path / "made.gguf"
    with path.open("wb") as file:
        write_gguf(file, {key: encode_value(word, value) for key, (word, value) in given.items()}, [])
    header = read_header(path)
    assert {key: (header.types[key], header.metadata[key]) for key in given} == given


def test_an_alignment_of_its_own_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "made.gguf"
    pairs = {"general.architecture": encode_value("string", "x"), "general.alignment": encode_value("uint32", 64)}
    tensors = [NewTensor(name=name, shape=(3,), ggml_type=0, data=lambda: b"\1" * 12) for name in ("a", "b")]
    with path.open("wb") as file:
        write_gguf(file, pairs, tensors)
    header = read_header(path)
    assert (header.data_offset % 64, header.tensors["b"].offset) == (0, 64)


def test_data_of_a_wrong_size_is_refused() -> None:
    tensor = NewTensor(name="a", shape=(3,), ggml_type=0, data=lambda: b"1234")
    with pytest.raises(ValueError, match="4 bytes of data, and 12 are due"):
        write_gguf(io.BytesIO(), {}, [tensor])


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def interrupted() -> None:
        with replacing(target) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]
    with replacing(target) as partial:
        partial.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "new")]


def test_a_target_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"), replacing(tmp_path / "no" / "file") as partial:
        partial.write_text("x")
