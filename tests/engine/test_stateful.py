"""Random operations on an engine with the real llama.cpp, held against a plain model of what its slots hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ggufvlm.cache.store import Store
from ggufvlm.engine.engine import Engine
from ggufvlm.engine.prefix_cache import common_prefix
from ggufvlm.engine.sequence import Segment, Sequence, TextSegment, append_tokens, count_cells
from ggufvlm.engine.snapshots import Snapshots
from tests.support.engines import DEMO, Known, add, collect, image, know, make_engine, prompt

REQUESTS = [
    prompt(("What is on the left?",)),
    prompt((image(1), "Describe this image.")),
    prompt((image(1), "How many blocks are there?")),
    prompt((image(2), "How many blocks are there?")),
    prompt((image(1), image(2), "Describe the images.")),
    prompt((image(1), "What is on the left?"), ("The red bar.",), ("And on the right?",)),
]
MAX_TOKENS = 12


class Machine(RuleBasedStateMachine):
    """Adds, steps, aborts, evicts and takes snapshots in any order.

    The model of the cache is plain: a running sequence's slot holds what of its prompt and answer is computed; any
    other slot holds what it held when it was last left, or nothing.
    """

    weights = DEMO
    known: list[Known]

    @initialize(n_slots=st.integers(1, 4), n_ctx=st.sampled_from([None, 256, 512]), priority=st.sampled_from([0, 1]))
    def start(self, n_slots: int, n_ctx: int | None, priority: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name), 2**24)
        snapshots = Snapshots(self.store, "test")
        self.engine: Engine = make_engine(
            self.weights,
            snapshots=snapshots,
            n_slots=n_slots,
            n_ctx=n_ctx,
            priority=("latency", "throughput")[priority],
        )
        self.live: dict[int, tuple[Sequence, int]] = {}
        self.left: dict[int, list[Segment]] = {}

    @rule(number=st.integers(0, len(REQUESTS) - 1))
    def add(self, number: int) -> None:
        sequence = add(self.engine, REQUESTS[number], max_tokens=MAX_TOKENS)
        self.live[sequence.id] = (sequence, number)

    @precondition(lambda self: self.live)
    @rule(count=st.integers(1, 9))
    def step(self, count: int) -> None:
        for _ in range(count):
            self._step()

    def _step(self) -> None:
        slots = {sequence.id: sequence.slot for sequence, _ in self.live.values()}
        outputs = self.engine.step()
        collect(outputs, {})
        for output in outputs:
            if output.is_last:
                sequence, number = self.live.pop(output.sequence.id)
                if sequence.finish_reason != "abort":
                    self.known[number].assert_same(sequence.generated)
                slot = sequence.slot if sequence.slot >= 0 else slots[sequence.id]
                self.left[slot] = computed(sequence)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 99))
    def abort(self, which: int) -> None:
        ids = sorted(self.live)
        self.engine.abort(self.live[ids[which % len(ids)]][0])

    @rule()
    def evict(self) -> None:
        if self.engine.n_ctx:
            self.engine._room.evict()

    @rule()
    def damage_a_snapshot(self) -> None:
        for path in sorted(Path(self.folder.name).rglob("*"))[:1]:
            if path.is_file():
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)

    @invariant()
    def records_agree_with_the_cells(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.check()
        cache, running = self.engine._cache, self.engine._scheduler.running
        for sequence in running:
            assert flat(cache.contents(sequence.slot)) == flat(computed(sequence))
        taken = {sequence.slot for sequence in running}
        for slot in range(self.engine._config.n_slots):
            if slot not in taken:
                held = cache.contents(slot)
                was = self.left.get(slot, [])
                shared = count_cells(common_prefix(held, was))
                # a slot that was prepared for one who still waits holds the beginning of that prompt
                waiting = [common_prefix(held, s.segments) for s in self.engine._scheduler.waiting]
                assert count_cells(held) in (shared, *(count_cells(prefix) for prefix in waiting))

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            for _ in range(5000):
                if self.engine.is_idle:
                    break
                self._step()
                self.engine.check()
            assert self.engine.is_idle, "everything comes to an end"
            self.engine.close()
            self.folder.cleanup()


def computed(sequence: Sequence) -> list[Segment]:
    """What of a sequence's prompt and answer has gone through the model."""
    segments = list(sequence.segments[: sequence.cursor])
    if not sequence.is_prefilled:
        segment = sequence.segments[sequence.cursor]
        if isinstance(segment, TextSegment):
            append_tokens(segments, segment.tokens[: sequence.offset])
        return segments
    n_again = count_cells(sequence.segments) - sequence.n_prompt
    all_computed = sequence.next_token is None or sequence.finish_reason == "stop"  # what ended it came after the last
    said = sequence.generated if all_computed else sequence.generated[:-1]
    append_tokens(segments, said[n_again:])
    return segments


def flat(segments: list[Segment]) -> list[object]:
    cells: list[object] = []
    for segment in segments:
        cells.extend(segment.tokens if isinstance(segment, TextSegment) else [segment])
    return cells


@pytest.mark.parametrize("kind", ["cuttable", "hybrid"])
def test_no_order_of_operations_breaks_the_cache(hybrid: Path, kind: str) -> None:
    weights = DEMO if kind == "cuttable" else hybrid
    single = make_engine(weights)
    known = [know(single, parts, max_tokens=MAX_TOKENS) for parts in REQUESTS]
    single.close()
    case = type("Case", (Machine,), {"weights": weights, "known": known})
    test = case.TestCase
    test.settings = settings(
        max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    test().runTest()
