"""Files take their place whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufvlm.errors import ModelError
from ggufvlm.files import replacing, replacing_durably

LONG_NAMES = ["a" * 250 + ".txt", "画" * 84 + ".x", "\N{GRINNING FACE}" * 62 + ".txt"]


@pytest.mark.parametrize("name", LONG_NAMES)
def test_names_of_any_length_are_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with replacing(target) as partial:
        partial.write_bytes(b"one")
    assert target.read_bytes() == b"one"
    with replacing_durably(target) as file:
        file.write(b"two")
        assert target.read_bytes() == b"one"
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError("no space")])
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "out.txt"
    target.write_bytes(b"old")

    def write_half_of_a_model() -> None:
        with replacing(target) as partial:
            partial.write_bytes(b"half")
            raise error

    def write_half_of_a_journal() -> None:
        with replacing_durably(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(ModelError if isinstance(error, OSError) else type(error)):
        write_half_of_a_model()
    with pytest.raises(type(error)):
        write_half_of_a_journal()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
