from __future__ import annotations

import pytest

from ggufvlm.errors import UsageError
from ggufvlm.grounding.labels import best_label, clean_labels


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ("cat", ["dog", "cat"], "cat"),
        ("Cats", ["cat"], "cat"),
        ("the red car", ["car", "red car"], "red car"),
        ("red car", ["car", "bus"], "car"),
        ("car", ["red car", "bus"], "red car"),
        ("car", ["red car", "blue car"], None),
        ("boxes", ["box"], "box"),
        ("glass", ["glasses"], "glasses"),
        ("Straße", ["STRASSE"], "STRASSE"),
        ("кошка", ["кошка"], "кошка"),
        ("cathedral", ["cat"], None),
        ("", ["cat"], None),
        ("dog", [], None),
        ("dog", ["??", "🐱"], None),
        ("🐱", ["dog", "🐱"], "🐱"),
    ],
)
def test_which_label_a_found_name_belongs_to(found: str, wanted: list[str], expected: str | None) -> None:
    assert best_label(found, wanted) == expected


def test_labels_are_made_tidy() -> None:
    assert clean_labels(["  red \n car", "cat", "red car"]) == ("red car", "cat")
    with pytest.raises(UsageError, match="empty"):
        clean_labels(["cat", " "])
