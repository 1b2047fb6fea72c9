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


def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(target) as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), replacing_durably(target) as file:
        file.write(b"half")
        raise ZeroDivisionError
    with pytest.raises(ModelError, match=r"out\.txt: cannot be written"), replacing(target):
        raise OSError("no space")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
