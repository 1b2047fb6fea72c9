"""What is done to the cells of slots: begin, share, restore, cut back. The record and the cells change together."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from ggufvlm.engine.admission import Place
from ggufvlm.engine.prefix_cache import PrefixCache, common_prefix
from ggufvlm.engine.runner import Runner
from ggufvlm.engine.sequence import ImageSegment, Segment, Sequence, count_cells, count_positions
from ggufvlm.engine.snapshots import Snapshots, pays


class Slots:
    """The slots of one context.

    Args:
        runner: owns the cells.
        cache: the record of what they hold.
        snapshots: cells of earlier processes, if they are wanted.
    """

    def __init__(self, runner: Runner, cache: PrefixCache, snapshots: Snapshots | None) -> None:
        self._runner = runner
        self._cache = cache
        self._snapshots = snapshots
        # where memory cannot be cut: the recurrent state at the end of a slot's last image
        self._checkpoints: dict[int, tuple[list[Segment], bytes]] = {}

    def begin(self, place: Place) -> None:
        """Give a free slot the cells that a prompt begins with, and no others."""
        slot, position = place.slot, count_positions(place.prefix)
        if place.source != slot:
            self._cache.cut(slot, [])
            self._runner.share(place.source, slot, position)
            self._cache.copy(place.source, slot, place.prefix)
        elif count_cells(place.prefix) < count_cells(self._cache.contents(slot)):
            self._cut(slot, place.prefix)

    def _cut(self, slot: int, prefix: list[Segment]) -> None:
        checkpoint, state = self._checkpoints.get(slot, ([], b""))
        can_rewind = checkpoint and all(
            common_prefix(segments, checkpoint) == checkpoint for segments in (prefix, self._cache.contents(slot))
        )
        if can_rewind and not self._runner.model.can_cut_memory:
            is_rewound = self._runner.rewind(slot, state, count_positions(checkpoint))
            self._cache.cut(slot, checkpoint if is_rewound else [])
            return
        is_cut = self._runner.cut(slot, count_positions(prefix))
        self._cache.cut(slot, prefix if is_cut else [])

    def restore(self, slot: int, wanted: Seq[Segment]) -> int:
        """Fill a slot from a snapshot if that saves some computing; returns the cells that it saved."""
        if self._snapshots is None:
            return 0
        n_known = count_cells(self._cache.contents(slot))
        found = self._snapshots.find(wanted, n_known)
        if found is None:
            return 0
        prefix, state = found
        if self._runner.import_slot(slot, state):
            self._cache.fill(slot, prefix)
            return count_cells(prefix) - n_known
        self._cache.cut(slot, [])
        self._snapshots.drop(prefix)
        return 0

    def image_done(self, sequence: Sequence) -> None:
        """After an image was computed: keep what later prompts about it can begin with."""
        if any(isinstance(segment, ImageSegment) for segment in sequence.segments[sequence.cursor :]):
            return
        contents, slot = self._cache.contents(sequence.slot), sequence.slot
        if not self._runner.model.can_cut_memory:
            state = self._runner.export_slot(slot, only_recurrent=True)
            if state is not None:
                self._checkpoints[slot] = (list(contents), state)
        if self._snapshots is None or not self._snapshots.is_writing or self._snapshots.has(contents):
            return
        n_bytes = self._runner.size_of_slot(slot)
        if pays(n_bytes, sequence.timings.prefill):
            state = self._runner.export_slot(slot)
            if state is not None:
                self._snapshots.save(list(contents), state)

    def cut_back(self, sequence: Sequence) -> bool:
        """Drop what an unfinished step may have left behind the cells that are known to be right.

        False if this kind of memory could only be cleared.
        """
        slot = sequence.slot
        contents = self._cache.contents(slot)
        if sequence.is_inside_image:
            sequence.offset = 0
        if self._runner.cut(slot, count_positions(contents)):
            return True
        self._cache.cut(slot, [])
        return False

    def clear(self, slot: int) -> None:
        """Drop all cells of a slot."""
        self._runner.clear(slot)
        self._cache.cut(slot, [])

    def close(self) -> None:
        """Wait for snapshots that are being written."""
        if self._snapshots is not None:
            self._snapshots.close()
