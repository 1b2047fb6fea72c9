"""Pages put together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.tasks.ocr.pages import Joiner, Separator, drop_repeated, without_loop


def join_pages(pages: list[str]) -> str:
    joiner = Joiner()
    return "".join(joiner.add(page) for page in pages) + joiner.end()


@pytest.mark.parametrize(
    ("pages", "joined"),
    [
        (["The infor-", "mation is here."], "The information is here.\n"),
        (["The infor\u00ad\n", "\nmation"], "The information\n"),
        (["Jean-", "Paul came."], "Jean-Paul came.\n"),
        (["It goes on", "and on."], "It goes on and on.\n"),
        (["It ends.", "then another"], "It ends.\n\nthen another\n"),
        (["It ends here", "New one"], "It ends here\n\nNew one\n"),
        (["pages 3-", "5 of it"], "pages 3-\n\n5 of it\n"),
        (["a dash -", "and more"], "a dash - and more\n"),
        (["text", "# Heading"], "text\n\n# Heading\n"),
        (["## heading", "goes on in lower case"], "## heading\n\ngoes on in lower case\n"),
        (["| a | b |", "| c | d |"], "| a | b |\n\n| c | d |\n"),
        (["text", "- item"], "text\n\n- item\n"),
        (["one", "", "  \n ", "two"], "one two\n"),
        (["first\nsecond li-", "ne\nthird"], "first\nsecond line\nthird\n"),
        (["Über die Straß-", "enbahn"], "Über die Straßenbahn\n"),
        ([], ""),
        (["", ""], ""),
        (["  indented first line"], "  indented first line\n"),
    ],
)
def test_pages_run_into_each_other(pages: list[str], joined: str) -> None:
    assert join_pages(pages) == joined


WORDS = st.lists(
    st.lists(st.sampled_from(["word", "Anna", "x-", "end.", "\n", "7"]), max_size=6).map(" ".join), max_size=6
)


@given(WORDS)
def test_no_letter_is_lost_or_made_up(pages: list[str]) -> None:
    def letters(text: str) -> str:
        return re.sub(r"[\s-]", "", text)

    assert letters(join_pages(pages)) == letters("".join(pages))


@given(WORDS)
def test_what_was_given_out_is_never_taken_back(pages: list[str]) -> None:
    joiner, said = Joiner(), ""
    for i, page in enumerate(pages, 1):
        said += joiner.add(page)
        assert join_pages(pages[:i]).startswith(said)
        assert said == "" or said.endswith("\n")
    assert said + joiner.end() == join_pages(pages)


def test_separate_pages() -> None:
    plain, marked = Separator(), Separator("<!-- {} -->\n\n")
    assert "".join(plain.add(name, text) for name, text in [("a", "one\n\n"), ("b", ""), ("c", "three")]) == (
        "one\n\f\fthree\n"
    )
    assert "".join(marked.add(name, text) for name, text in [("a", "one"), ("b", "two")]) == (
        "<!-- a -->\n\none\n\n<!-- b -->\n\ntwo\n"
    )


def running(number: int, n: int, words: str) -> str:
    return f"ACME Corp — Report {2000 + number}\n\n{words}\n\nPage {number} of {n}"


def test_running_heads_and_feet_are_dropped() -> None:
    bodies = [f"Body {chr(97 + i)} says something.\nAnd a second line {chr(97 + i)}." for i in range(8)]
    pages = [running(i, 8, body) for i, body in enumerate(bodies, 1)]
    assert drop_repeated(pages) == bodies
    assert drop_repeated(pages[:2]) == pages[:2], "two pages are too few to tell"


def test_left_and_right_pages_may_differ() -> None:
    bodies = [f"Words of {name} and more.\nLast line of {name}." for name in "abcdefgh"]
    pages = [f"{'Left' if i % 2 else 'Right'} title\n{body}\n- {i} -" for i, body in enumerate(bodies)]
    assert drop_repeated(pages) == bodies


def test_repeated_lines_in_the_middle_stay() -> None:
    pages = [f"Head {c}\nunlike {c}\nTotal: 0\nfoot {c * 2}\nunlike {c * 3}" for c in "abcdq"]
    assert drop_repeated(pages) == pages


@given(st.lists(st.text(alphabet="ab1\n ", max_size=30), max_size=8))
def test_dropping_only_drops_whole_lines(pages: list[str]) -> None:
    for before, after in zip(pages, drop_repeated(pages), strict=True):
        lines = iter(before.split("\n"))
        assert all(any(line == kept for line in lines) for kept in after.split("\n") if kept)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One two. " + "and then " * 20, "One two. and then"),
        ("Sum: 0.0.0.0.0.0.0.0", "Sum: 0."),
        ("a b c", "a b c"),
        ("line\n" + "row 1\nrow 2\n" * 9 + "ro", "line\nrow 1\nrow 2"),
        ("", ""),
    ],
)
def test_a_loop_is_said_once(text: str, kept: str) -> None:
    assert without_loop(text) == kept


@given(st.text(alphabet="abcdefgh ", min_size=1, max_size=20), st.integers(8, 30))
def test_loops_of_any_length_are_cut(group: str, rounds: int) -> None:
    text = "Begin: " + group * rounds
    kept = without_loop(text)
    assert text.startswith(kept)
    assert len(kept) <= len("Begin: ") + 2 * len(group)
