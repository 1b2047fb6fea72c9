"""Token bytes to text: never half a character, never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Detokenizer:
    """Turns the pieces of one answer into text that can be shown at once.

    Args:
        stop: strings that end the answer; neither they nor what follows is ever returned.
        strip_start: drop spaces before the first other character.
    """

    def __init__(self, stop: Sequence[str] = (), *, strip_start: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._strip_start = strip_start
        self._stripped: str | None = " "
        self._held = ""
        self.stopped = False

    def strip_all_blanks(self) -> None:
        """Drop spaces and line breaks before the next other character: the answer begins here."""
        self._strip_start, self._stripped = True, None

    def push(self, piece: bytes) -> str:
        """Text that is now certain. Empty once a stop string has come."""
        return "" if self.stopped else self._release(self._decoder.decode(piece), final=False)

    def finish(self) -> str:
        """What was held back at the end of the answer; half a character becomes U+FFFD."""
        return "" if self.stopped else self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, text: str, *, final: bool) -> str:
        self._held += text
        if self._strip_start:
            self._held = self._held.lstrip(self._stripped)
            self._strip_start = not self._held
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            end = min(found)
        else:
            end = len(self._held) if final else len(self._held) - self._maybe_stop()
        released, self._held = self._held[:end], self._held[end:]
        return released

    def _maybe_stop(self) -> int:
        """Length of the longest end of the held text that may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
