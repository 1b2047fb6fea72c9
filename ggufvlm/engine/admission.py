"""Where a waiting prompt starts: in which slot, after which cells, or later. Pure: no clock, no llama."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from ggufvlm.engine.prefix_cache import PrefixCache, common_prefix
from ggufvlm.engine.sequence import ImageSegment, Segment, Sequence, count_cells

WORTH_WAITING_FOR = 64
"""Cells of text that another sequence is about to compute, for which it pays to be admitted a step later."""


@dataclass(frozen=True, slots=True)
class Place:
    """How to begin a prompt.

    Attributes:
        slot: the free slot to run in.
        source: whose cells hold ``prefix``; another slot than ``slot`` if they are to be shared.
        prefix: the part of the prompt that need not be computed.
    """

    slot: int
    source: int
    prefix: list[Segment]


def choose_place(
    wanted: Seq[Segment], cache: PrefixCache, free: Seq[int], running: Seq[Sequence], *, can_cut: bool
) -> Place | None:
    """The place that leaves least to compute, ``None`` if a running sequence will soon have more of this prompt.

    Args:
        wanted: the prompt.
        cache: what all slots hold.
        free: slots that no sequence runs in, at least one.
        running: the sequences in the other slots.
        can_cut: whether cells can be taken off a slot's end; else only a slot's whole contents can be used.
    """
    sources = [
        *free,
        *(s.slot for s in running if can_cut or (not s.is_inside_image and _is_whole(cache, s.slot, wanted))),
    ]
    source, prefix = cache.best_source(wanted, sources)
    if any(_will_have_more(s, wanted, prefix, only_images=not can_cut) for s in running):
        return None
    if not prefix:
        slot = _least_missed(cache, free)
        return Place(slot, slot, prefix)
    if source in free:
        loses_something = count_cells(prefix) < count_cells(cache.contents(source))
        empty = [slot for slot in free if not cache.contents(slot)]
        if not (loses_something and empty and can_cut):
            return Place(source, source, prefix)
    return Place(_least_missed(cache, [slot for slot in free if slot != source]), source, prefix)


def _is_whole(cache: PrefixCache, slot: int, wanted: Seq[Segment]) -> bool:
    contents = cache.contents(slot)
    return count_cells(common_prefix(contents, wanted)) == count_cells(contents) < count_cells(wanted)


def _least_missed(cache: PrefixCache, free: Seq[int]) -> int:
    empty = [slot for slot in free if not cache.contents(slot)]
    oldest = cache.least_recently_used(free)
    return empty[0] if empty or oldest is None else oldest


def _will_have_more(running: Sequence, wanted: Seq[Segment], prefix: Seq[Segment], *, only_images: bool) -> bool:
    if running.is_prefilled:
        return False
    shared = common_prefix(running.segments, wanted)
    n_images = sum(isinstance(segment, ImageSegment) for segment in shared)
    if n_images > sum(isinstance(segment, ImageSegment) for segment in prefix):
        return True
    return not only_images and count_cells(shared) >= count_cells(prefix) + WORTH_WAITING_FOR
