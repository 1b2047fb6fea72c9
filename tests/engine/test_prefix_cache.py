from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.prefix_cache import PrefixCache, common_prefix, reusable_prefix
from ggufvlm.engine.sequence import PictureSegment, Segment, TextSegment, append_tokens, count_cells, count_positions


def text(*tokens: int) -> TextSegment:
    return TextSegment(tokens)


def picture(name: str, ordinal: int = 0) -> PictureSegment:
    return PictureSegment(name, ordinal, n_cells=42, n_pos=7)


def flat(segments: list[Segment]) -> list[object]:
    """One entry per cell that may be cut apart: a token, or a whole picture."""
    cells: list[object] = []
    for segment in segments:
        cells.extend(segment.tokens if isinstance(segment, TextSegment) else [segment])
    return cells


@st.composite
def prompts(draw: st.DrawFn) -> list[Segment]:
    segments: list[Segment] = []
    for item in draw(st.lists(st.one_of(st.integers(0, 3), st.sampled_from("ab")), max_size=12)):
        if isinstance(item, int):
            append_tokens(segments, [item])
        else:
            segments.append(picture(item))
    return segments


def test_text_is_cut_anywhere() -> None:
    assert common_prefix([text(1, 2, 3)], [text(1, 2, 9)]) == [text(1, 2)]


def test_a_picture_is_kept_whole_or_not_at_all() -> None:
    kept = [text(1), picture("a"), text(2)]
    assert common_prefix(kept, [text(1), picture("a"), text(3)]) == [text(1), picture("a")]
    assert common_prefix(kept, [text(1), picture("b"), text(2)]) == [text(1)]
    assert common_prefix([text(1), picture("a", 0)], [text(1), picture("a", 1)]) == [text(1)]


def test_a_longer_text_before_the_picture_ends_the_prefix() -> None:
    assert common_prefix([text(1), picture("a")], [text(1, 2), picture("a")]) == [text(1)]


def test_one_token_is_left_to_compute() -> None:
    prompt: list[Segment] = [text(1), picture("a"), text(2, 3)]
    assert reusable_prefix(prompt, prompt) == [text(1), picture("a"), text(2)]
    assert reusable_prefix([text(1)], [text(1)]) == []


@given(prompts(), prompts())
def test_the_prefix_begins_both_and_is_the_longest(kept: list[Segment], wanted: list[Segment]) -> None:
    prefix = flat(common_prefix(kept, wanted))
    a, b = flat(kept), flat(wanted)
    assert a[: len(prefix)] == b[: len(prefix)] == prefix
    assert len(prefix) in (len(a), len(b)) or a[len(prefix)] != b[len(prefix)]


@given(prompts(), prompts())
def test_something_is_always_left_to_compute(kept: list[Segment], wanted: list[Segment]) -> None:
    prefix = reusable_prefix(kept, wanted)
    assert not wanted or count_cells(prefix) < count_cells(wanted)


def test_cells_and_positions_differ_for_a_picture() -> None:
    segments = [text(1, 2), picture("a")]
    assert count_cells(segments) == 44
    assert count_positions(segments) == 9


def test_the_slot_that_shares_most_is_taken() -> None:
    cache = PrefixCache(3)
    cache.append(0, (1, 2))
    cache.append(1, (1, 2))
    cache.append(1, picture("a"))
    assert cache.best_slot([text(1, 2), picture("a"), text(5)], [0, 1, 2])[0] == 1
    assert cache.best_slot([text(9)], [0, 1, 2])[0] == 2, "nothing shared: the empty slot loses least"
    assert cache.best_slot([text(1, 2), picture("a"), text(5)], [0, 2])[0] == 0, "only free slots count"


def test_contents_follow_what_is_computed() -> None:
    cache = PrefixCache(1)
    cache.append(0, (1,))
    cache.append(0, (2, 3))
    cache.append(0, picture("a"))
    assert cache.contents(0) == [text(1, 2, 3), picture("a")]
    assert cache.n_cells == 45
    cache.cut(0, [text(1)])
    assert cache.contents(0) == [text(1)]
