"""Fingerprints of model files: equal for the same contents, different for all that changes a model."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.errors import ModelError
from ggufvlm.gguf.fingerprint import file_fingerprint
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, encode_value, read_pairs, write_gguf

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, PROJECTOR = DEMO / "tiny-qwen2vl-Q8_0.gguf", DEMO / "mmproj-tiny-qwen2vl-F16.gguf"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(MODEL, tmp_path / "model.gguf"))


def test_a_copy_has_the_same_fingerprint(model: Path) -> None:
    assert file_fingerprint(model) == file_fingerprint(MODEL)
    assert len(file_fingerprint(model)) == 64
    assert file_fingerprint(PROJECTOR) != file_fingerprint(MODEL)


def test_every_tensor_counts(tmp_path: Path) -> None:
    """As after a fine-tune that trained one tensor only."""
    header = read_header(MODEL)
    sound, fingerprints = MODEL.read_bytes(), {file_fingerprint(MODEL)}
    for name, tensor in header.tensors.items():
        changed = bytearray(sound)
        start = header.data_offset + tensor.offset
        for place in range(start, start + (tensor.n_bytes or 0)):
            changed[place] ^= 1
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(changed)
        fingerprints.add(file_fingerprint(path))
        path.unlink()
    assert len(fingerprints) == 1 + len(header.tensors)


def test_both_ends_of_a_tensor_count(tmp_path: Path) -> None:
    """As after a fine-tune that trained the rows of a few added tokens only."""
    header = read_header(MODEL)
    tensor = header.tensors["token_embd.weight"]
    assert (tensor.n_bytes or 0) > 3 * 4096
    sound = MODEL.read_bytes()
    for place in (0, (tensor.n_bytes or 0) - 1):
        changed = bytearray(sound)
        changed[header.data_offset + tensor.offset + place] ^= 1
        (tmp_path / f"{place}.gguf").write_bytes(changed)
        assert file_fingerprint(tmp_path / f"{place}.gguf") != file_fingerprint(MODEL)


def test_metadata_counts(tmp_path: Path) -> None:
    pairs, fingerprints = read_pairs(MODEL), set()
    for number, template in enumerate(("{{ a }}", "{{ b }}")):
        pairs["tokenizer.chat_template"] = encode_value("string", template)
        path = tmp_path / f"{number}.gguf"
        with path.open("wb") as file:
            write_gguf(file, pairs, copied(MODEL, read_header(MODEL)))
        fingerprints.add(file_fingerprint(path))
    assert len(fingerprints) == 2


def test_a_truncated_file_has_another_fingerprint(model: Path) -> None:
    first = file_fingerprint(model)
    os.truncate(model, model.stat().st_size - 32)
    assert file_fingerprint(model) != first


@pytest.mark.skipif(os.name != "posix", reason="Windows has no time of the last change that nobody can set")
def test_a_file_changed_in_place_is_looked_at_again(model: Path) -> None:
    first, before = file_fingerprint(model), model.stat()
    time.sleep(0.05)  # clocks of file systems are coarse
    with model.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_fingerprint(model) != first


def test_all_parts_of_a_split_model_count(tmp_path: Path) -> None:
    parts = [tmp_path / f"m-{number:05}-of-00002.gguf" for number in (1, 2)]
    shutil.copy(MODEL, parts[0])
    shutil.copy(PROJECTOR, parts[1])
    whole = file_fingerprint(parts[0])
    shutil.copy(MODEL, parts[1])
    assert file_fingerprint(parts[0]) != whole
    parts[1].unlink()
    with pytest.raises(ModelError, match="missing"):
        file_fingerprint(parts[0])


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        file_fingerprint(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelError, match="not a GGUF file"):
        file_fingerprint(tmp_path / "text.gguf")
    with pytest.raises(ModelError):
        file_fingerprint(tmp_path)
