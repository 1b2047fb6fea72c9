"""What a model thinks before it answers, told apart from the answer as it comes. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

NO_BUDGET = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class ThoughtMarks:
    """Where thoughts begin and end in one answer.

    Attributes:
        opening, closing: the marks, as the model writes them.
        is_open: the prompt ends inside a thought, so the answer begins there.
        opens: the opening mark is put at the start, whatever the model would say.
        budget: tokens of thoughts; when they are spent, the closing mark is put there. ``NO_BUDGET`` sets no limit.
        are_counted: they count as tokens of the answer, whose limit then holds for both together.
    """

    opening: str
    closing: str
    is_open: bool = False
    opens: bool = False
    budget: int = NO_BUDGET
    are_counted: bool = False


class Delta(NamedTuple):
    """New text of the thoughts, and new bytes of the answer."""

    thought: str
    answer: bytes


class Piece(NamedTuple):
    """A token: its bytes, and those that a control token has besides."""

    token: int
    plain: bytes
    special: bytes


class ThoughtSplitter:
    """Takes the tokens of one answer, and gives thoughts and answer apart.

    A mark counts where it can be one: the opening mark at the very start, or anywhere if a special token begins it;
    the closing mark only behind an opening one. A mark may come in any number of tokens.

    Args:
        marks: how the model thinks.
        opening, closing: the marks in tokens of its vocabulary.
        special: those tokens of them that are no text by themselves.

    Attributes:
        n_tokens: tokens so far that are no answer, marks among them.
    """

    def __init__(
        self, marks: ThoughtMarks, opening: Sequence[int], closing: Sequence[int], special: frozenset[int]
    ) -> None:
        self._opening, self._closing = marks.opening.encode(), marks.closing
        self._budget, self._closing_tokens, self._special = marks.budget, tuple(closing), special
        self._opener = opening[0] if opening and opening[0] in special else None
        self._forced = list(opening) if marks.opens else []
        self._held: list[Piece] | None = None if marks.is_open else []  # what may become the opening mark
        self._is_inside = marks.is_open
        self._thought = _Thought(marks.closing)
        self._n_inside = 0
        self.n_tokens = 0

    @property
    def is_thinking(self) -> bool:
        """Whether the next token is none of the answer."""
        return self._is_inside or bool(self._forced)

    def next_forced(self) -> int | None:
        """The token that has to come next, whatever the model would say; None if it may choose."""
        if not self._forced and self._is_inside and 0 <= self._budget <= self._n_inside:
            self._forced, self._budget = list(self._closing_tokens), NO_BUDGET
        return self._forced.pop(0) if self._forced else None

    def push(self, piece: Piece) -> Delta:
        """Take a token."""
        if self._is_inside:
            return self._think(piece.special if piece.token in self._special else piece.plain, 1)
        before = b""
        if piece.token == self._opener:
            before, self._held = self._release(), []
        if self._held is None:
            return Delta("", piece.plain)
        self._held.append(piece)
        begun = b"".join(held.special for held in self._held).lstrip()
        if self._opening.startswith(begun):
            if begun != self._opening:
                return Delta("", before)
        elif not begun.startswith(self._opening):
            return Delta("", before + self._release())
        n_held, self._held, self._is_inside = len(self._held), None, True
        self._thought = _Thought(self._closing)
        thought, answer = self._think(begun[len(self._opening) :], n_held)
        self._n_inside = 0
        return Delta(thought, before + answer)

    def finish(self) -> Delta:
        """What was held back at the end of the answer."""
        return Delta(self._thought.finish() if self._is_inside else "", self._release())

    def _release(self) -> bytes:
        held, self._held = self._held or [], None
        return b"".join(piece.plain for piece in held)

    def _think(self, data: bytes, n_tokens: int) -> Delta:
        self.n_tokens += n_tokens
        self._n_inside += n_tokens
        text, rest = self._thought.push(data)
        self._is_inside = rest is None
        return Delta(text, rest or b"")


class _Thought:
    """The text of one thought, without blanks around it, up to its closing mark."""

    def __init__(self, closing: str) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._closing = closing
        self._held = ""
        self._has_begun = False

    def push(self, data: bytes) -> tuple[str, bytes | None]:
        """New text that is certain, and what follows the closing mark if that has come."""
        self._held += self._decoder.decode(data)
        text, mark, rest = self._held.partition(self._closing)
        if mark:
            return self._without_blanks(text.rstrip()), rest.encode() + self._decoder.getstate()[0]
        n_kept = next(n for n in range(len(self._closing) - 1, -1, -1) if self._held.endswith(self._closing[:n]))
        certain = self._held[: len(self._held) - n_kept].rstrip()
        self._held = self._held[len(certain) :] if self._has_begun or certain else self._held.lstrip()
        return self._without_blanks(certain), None

    def finish(self) -> str:
        """The rest of a thought that was not closed."""
        return self._without_blanks((self._held + self._decoder.decode(b"", final=True)).rstrip())

    def _without_blanks(self, text: str) -> str:
        text = text if self._has_begun else text.lstrip()
        self._has_begun = self._has_begun or bool(text)
        return text
