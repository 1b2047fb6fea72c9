from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.engine.prefix_cache import PrefixCache, common_prefix, reusable_prefix
from ggufvlm.engine.sequence import ImageSegment, Segment, TextSegment, append_tokens, count_cells, count_positions


def text(*tokens: int) -> TextSegment:
    return TextSegment(tokens)


def image(name: str, ordinal: int = 0) -> ImageSegment:
    return ImageSegment(name, ordinal, n_cells=42, n_pos=7)


def flat(segments: list[Segment]) -> list[object]:
    """One entry per cell that may be cut apart: a token, or a whole image."""
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
            segments.append(image(item))
    return segments


def test_text_is_cut_anywhere() -> None:
    assert common_prefix([text(1, 2, 3)], [text(1, 2, 9)]) == [text(1, 2)]


def test_an_image_is_kept_whole_or_not_at_all() -> None:
    kept = [text(1), image("a"), text(2)]
    assert common_prefix(kept, [text(1), image("a"), text(3)]) == [text(1), image("a")]
    assert common_prefix(kept, [text(1), image("b"), text(2)]) == [text(1)]
    assert common_prefix([text(1), image("a", 0)], [text(1), image("a", 1)]) == [text(1)]


def test_a_longer_text_before_the_image_ends_the_prefix() -> None:
    assert common_prefix([text(1), image("a")], [text(1, 2), image("a")]) == [text(1)]


def test_one_token_is_left_to_compute() -> None:
    prompt: list[Segment] = [text(1), image("a"), text(2, 3)]
    assert reusable_prefix(prompt, prompt) == [text(1), image("a"), text(2)]
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


def test_cells_and_positions_differ_for_an_image() -> None:
    segments = [text(1, 2), image("a")]
    assert count_cells(segments) == 44
    assert count_positions(segments) == 9


def test_the_slot_that_shares_most_is_taken() -> None:
    cache = PrefixCache(3)
    cache.append(0, (1, 2))
    cache.append(1, (1, 2))
    cache.append(1, image("a"))
    assert cache.best_source([text(1, 2), image("a"), text(5)], [0, 1, 2])[0] == 1
    assert cache.best_source([text(9)], [0, 1, 2])[0] == 2, "nothing shared: the empty slot loses least"
    assert cache.best_source([text(1, 2), image("a"), text(5)], [0, 2])[0] == 0, "only these slots count"


def test_contents_follow_what_is_computed() -> None:
    cache = PrefixCache(1)
    cache.append(0, (1,))
    cache.append(0, (2, 3))
    cache.append(0, image("a"))
    assert cache.contents(0) == [text(1, 2, 3), image("a")]
    assert cache.n_cells == 45
    cache.cut(0, [text(1)])
    assert cache.contents(0) == [text(1)]


def test_shared_cells_count_once_and_stay_until_the_last_holder_goes() -> None:
    cache = PrefixCache(3)
    cache.append(0, (1, 2, 3))
    cache.append(0, image("a"))
    cache.append(0, (4, 5))
    cache.copy(0, 1, [text(1, 2, 3), image("a")])
    cache.copy(0, 2, [text(1, 2)])
    assert cache.n_cells == 47
    cache.append(1, (6,))
    assert cache.n_cells == 48
    cache.cut(0, [])
    assert cache.n_cells == 46
    cache.cut(1, [text(1)])
    assert cache.n_cells == 2


def first_units(segments: list[Segment], count: int) -> list[Segment]:
    """The first tokens or whole images."""
    first: list[Segment] = []
    for unit in flat(segments)[:count]:
        if isinstance(unit, ImageSegment):
            first.append(unit)
        else:
            append_tokens(first, [unit])
    return first


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    kinds = st.sampled_from(["append", "image", "cut", "copy", "fill"])
    slots = st.integers(0, 3)
    return draw(st.lists(st.tuples(kinds, slots, slots, st.integers(0, 9)), max_size=30))


@given(operations())
def test_the_record_of_cells_agrees_with_a_cache_of_single_cells(steps: list[tuple[str, int, int, int]]) -> None:
    cache = PrefixCache(4)
    cells: list[list[object]] = [[] for _ in range(4)]  # each object is one cell; two slots share it or not
    for kind, slot, other, number in steps:
        if kind == "append":
            cache.append(slot, tuple(range(number)))
            cells[slot] += [object() for _ in range(number)]
        elif kind == "image":
            cache.append(slot, image(str(number)))
            cells[slot] += [object() for _ in range(42)]
        elif kind == "fill":
            cache.fill(slot, [text(*range(number))] if number else [])
            cells[slot] = [object() for _ in range(number)]
        elif kind == "cut":
            prefix = first_units(cache.contents(slot), number)
            cache.cut(slot, prefix)
            cells[slot] = cells[slot][: count_cells(prefix)]
        elif other != slot:
            prefix = first_units(cache.contents(slot), number)
            cache.cut(other, [])
            cache.copy(slot, other, prefix)
            cells[other] = cells[slot][: count_cells(prefix)]
        assert [count_cells(cache.contents(at)) for at in range(4)] == [len(held) for held in cells]
        assert cache.n_cells == len({id(cell) for held in cells for cell in held})
