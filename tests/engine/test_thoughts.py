"""Thoughts and answers come apart, however the model cuts its marks into tokens."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.thoughts import Piece, ThoughtMarks, ThoughtSplitter

MARKS = [("<think>", "</think>"), ("◁think▷", "◁/think▷"), ("<|channel>thought", "<channel|>"), ("[THINK]", "[/THINK]")]
_OPEN, _CLOSE = 900, 901
texts = st.text(st.sampled_from("ab <>/|tхü€😀\n◁▷think[]"), max_size=30)


def split(splitter: ThoughtSplitter, pieces: list[Piece]) -> tuple[str, str]:
    deltas = [*(splitter.push(piece) for piece in pieces), splitter.finish()]
    return "".join(delta.thought for delta in deltas), b"".join(delta.answer for delta in deltas).decode()


def plain(data: bytes, cuts: list[int]) -> list[Piece]:
    """The bytes as ordinary tokens, cut at these places."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [Piece(n, data[a:b], data[a:b]) for n, (a, b) in enumerate(pairwise(ends))]


def splitter(
    marks: tuple[str, str], *, is_open: bool = False, special: bool = False, budget: int = -1
) -> ThoughtSplitter:
    found = ThoughtMarks(opening=marks[0], closing=marks[1], is_open=is_open, budget=budget)
    return ThoughtSplitter(found, [_OPEN], [_CLOSE], frozenset((_OPEN, _CLOSE)) if special else frozenset())


@given(st.sampled_from(MARKS), texts, texts, st.lists(st.integers(0, 200)), st.booleans())
def test_marks_in_any_number_of_tokens(
    marks: tuple[str, str], thought: str, answer: str, cuts: list[int], is_open: bool
) -> None:
    if marks[1] in thought + marks[1][:-1]:
        return
    said = ("" if is_open else marks[0]) + thought + marks[1] + answer
    found = split(splitter(marks, is_open=is_open), plain(said.encode(), cuts))
    assert found == (thought.strip(), answer)


@given(st.sampled_from(MARKS), texts, st.lists(st.integers(0, 200)))
def test_what_is_no_thought_is_the_answer(marks: tuple[str, str], answer: str, cuts: list[int]) -> None:
    if answer.lstrip().startswith(marks[0]):
        return
    assert split(splitter(marks), plain(answer.encode(), cuts)) == ("", answer)


@given(st.sampled_from(MARKS), texts, texts, texts)
def test_special_tokens_count_anywhere(marks: tuple[str, str], before: str, thought: str, answer: str) -> None:
    if before.lstrip().startswith(marks[0]) or marks[1] in thought + marks[1][:-1]:
        return
    opening, closing = Piece(_OPEN, b"", marks[0].encode()), Piece(_CLOSE, b"", marks[1].encode())
    pieces = [
        *plain(before.encode(), [2]),
        opening,
        *plain(thought.encode(), [1, 3]),
        closing,
        *plain(answer.encode(), []),
    ]
    assert split(splitter(marks, special=True), pieces) == (thought.strip(), before + answer)


def test_a_mark_in_the_middle_of_an_answer_is_text() -> None:
    said = b"HTML has no <think> and no </think>."
    assert split(splitter(MARKS[0]), plain(said, [])) == ("", said.decode())


def test_an_empty_thought_prints_nothing() -> None:
    pieces = [
        Piece(_OPEN, b"", b"<|channel>"),
        *plain(b"thought\n", []),
        Piece(_CLOSE, b"", b"<channel|>"),
        *plain(b"Red.", []),
    ]
    assert split(splitter(MARKS[2], special=True), pieces) == ("", "Red.")


def test_a_thought_that_is_never_closed_is_no_answer() -> None:
    found = splitter(MARKS[0], is_open=True)
    assert split(found, plain(b"It may be </thin", [])) == ("It may be </thin", "")
    assert found.n_tokens == 1


def test_the_closing_mark_is_put_when_the_budget_is_spent() -> None:
    found = splitter(MARKS[0], is_open=True, special=True, budget=3)
    pieces = plain(b"abcdef", [1, 2, 3, 4, 5])
    for piece in pieces[:3]:
        assert found.next_forced() is None
        found.push(piece)
    assert found.next_forced() == _CLOSE
    assert found.next_forced() is None
    found.push(Piece(_CLOSE, b"", b"</think>"))
    assert not found.is_thinking
    assert found.next_forced() is None


def test_tokens_of_thoughts_are_counted() -> None:
    found = splitter(MARKS[0])
    split(found, plain(b"<think>ab</think>cd", [2, 7, 8, 9, 17, 18]))
    assert found.n_tokens == 5
