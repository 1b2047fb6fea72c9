"""White space goes, everything else stays."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.constraints.constraint import compact_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 1, 4, "\t"]), st.booleans())
def test_the_same_as_json_without_white_space(value: object, indent: int | str | None, ascii_only: bool) -> None:
    loose = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert compact_json(loose) == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


def test_numbers_keep_their_spelling() -> None:
    assert compact_json('{ "a" : 1.50 ,\n"b c": "x  y \\" z" }') == '{"a":1.50,"b c":"x  y \\" z"}'
