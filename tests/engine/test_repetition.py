from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.repetition import MIN_ROUNDS, MIN_TOKENS, RepetitionGuard


def caught_at(tokens: list[int]) -> int | None:
    guard = RepetitionGuard()
    for length in range(1, len(tokens) + 1):
        if guard.is_loop(tokens[:length]):
            return length
    return None


def test_one_token_for_ever() -> None:
    assert caught_at([5] * 500) == MIN_TOKENS


def test_a_sentence_for_ever() -> None:
    sentence = list(range(30))
    assert caught_at([99, 98, *sentence * 20]) == 2 + MIN_ROUNDS * 30


def test_a_table_with_equal_rows_but_other_numbers_is_no_loop() -> None:
    rng = random.Random(1)
    rows = [token for n in range(200) for token in (1, 2, 1000 + rng.randint(0, 500), 3, 2000 + n, 4)]
    assert caught_at(rows) is None


def test_a_short_refrain_is_no_loop() -> None:
    assert caught_at([*range(40), *([7, 8] * 20), *range(40, 80)]) is None


@given(st.lists(st.integers(0, 50), max_size=40), st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_every_true_loop_is_caught_soon(start: list[int], group: list[int]) -> None:
    needed = max(MIN_ROUNDS * len(group), MIN_TOKENS + len(group))
    assert caught_at(start + group * (needed // len(group) + 2)) is not None
