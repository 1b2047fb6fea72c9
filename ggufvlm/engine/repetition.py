"""Noticing that an answer is caught in a loop. Pure."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_PERIOD = 128
MIN_ROUNDS = 6
MIN_TOKENS = 96


class RepetitionGuard:
    """Watches the tokens of one answer for an end that repeats exactly.

    An answer is in a loop when its last tokens are the same group of at most ``LONGEST_PERIOD`` tokens, at least
    ``MIN_ROUNDS`` times and ``MIN_TOKENS`` tokens in a row. Lists and tables repeat too, but not word for word for
    that long.
    """

    def __init__(self) -> None:
        # for every period p: how many of the last tokens equal the token p places before them
        self._matching = [0] * (LONGEST_PERIOD + 1)

    def is_loop(self, tokens: Sequence[int]) -> bool:
        """Call once after every token; ``tokens`` is the answer so far."""
        matching, last = self._matching, len(tokens) - 1
        looping = False
        for period in range(1, min(LONGEST_PERIOD, last) + 1):
            if tokens[last] == tokens[last - period]:
                matching[period] += 1
                run = matching[period] + period
                looping = looping or (run >= MIN_ROUNDS * period and run >= MIN_TOKENS)
            else:
                matching[period] = 0
        return looping
