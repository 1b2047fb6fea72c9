from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.detokenizer import Detokenizer


def run(pieces: list[bytes], stop: tuple[str, ...] = (), *, strip_start: bool = False) -> list[str]:
    detokenizer = Detokenizer(stop, strip_start=strip_start)
    return [*(detokenizer.push(piece) for piece in pieces), detokenizer.finish()]


def test_half_a_character_waits_for_its_other_half() -> None:
    first, second = "ä".encode()[:1], "ä".encode()[1:]
    assert run([b"a", first, second]) == ["a", "", "ä", ""]


def test_a_character_that_never_ends_is_marked() -> None:
    assert "".join(run([b"a", "😀".encode()[:2]])) == "a\ufffd"


def test_a_stop_string_and_what_follows_is_never_shown() -> None:
    assert "".join(run([b"one ST", b"OP two"], ("STOP",))) == "one "


def test_a_beginning_that_turns_out_harmless_is_shown() -> None:
    assert run([b"ST", b"AR"], ("STOP",)) == ["", "STAR", ""]


def test_a_beginning_at_the_end_is_shown() -> None:
    assert run([b"a ST"], ("STOP",)) == ["a ", "ST"]


def test_the_earliest_stop_string_counts() -> None:
    assert "".join(run([b"a B c A"], ("A", "B"))) == "a "


def test_blanks_before_the_answer_are_dropped_once() -> None:
    assert "".join(run([b" ", b"  a", b" b"], strip_start=True)) == "a b"


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_pieces_add_up_to_the_text_before_the_first_stop(text: str, stop: list[str], size: int) -> None:
    data = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    text = data.decode()
    found = [text.find(s) for s in stop if s in text]
    said = "".join(run([data[i : i + size] for i in range(0, len(data), size)], tuple(stop)))
    assert said == (text[: min(found)] if found else text)
