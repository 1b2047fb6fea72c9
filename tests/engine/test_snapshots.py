"""KV snapshots: another process starts at the question, with the very same numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.cache.store import Store
from ggufvlm.engine.sequence import ImageSegment, TextSegment
from ggufvlm.engine.snapshots import MAX_BYTES, Snapshots, image_ends, pays
from tests.support.engines import MakeEngine, first_logits, image, prompt, run

LEFT, COUNT = "What is on the left?", "How many blocks are there?"
ASK_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from ggufvlm.engine.snapshots import Snapshots
from ggufvlm.cache.store import Store
from tests.support.engines import make_engine, image, prompt, run
engine = make_engine(Path(sys.argv[2]), snapshots=Snapshots(Store(Path(sys.argv[1]), 2**26), "here"))
run(engine, prompt((image(1), "What is on the left?")), max_tokens=5)
engine.close()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "snapshots", 2**26)


@pytest.mark.parametrize("kind", ["demo", "hybrid"])
def test_another_process_starts_at_the_question(engines: MakeEngine, hybrid: Path, store: Store, kind: str) -> None:
    from tests.support.engines import DEMO

    weights = DEMO if kind == "demo" else hybrid
    command = [sys.executable, "-c", ASK_IN_ANOTHER_PROCESS, str(store.folder), str(weights)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=100)
    assert store.stats()[0] == 1
    here = engines(weights, snapshots=Snapshots(store, "here"))
    fresh = engines(weights)
    question = prompt((image(1), COUNT))
    np.testing.assert_array_equal(first_logits(here, question), first_logits(fresh, question))
    here = engines(weights, snapshots=Snapshots(store, "here"))
    _, sequence = run(here, question)
    assert sequence.n_encoded == 0
    assert sequence.n_restored > 35
    assert sequence.n_prompt - sequence.n_cached < 20


@pytest.mark.parametrize("other", ["another model", "another image", "another system prompt"])
def test_what_does_not_match_is_not_used(engines: MakeEngine, store: Store, other: str) -> None:
    run(engines(snapshots=Snapshots(store, "here")), prompt((image(1), LEFT)))
    identity = "there" if other == "another model" else "here"
    parts = prompt((image(2 if other == "another image" else 1), LEFT))
    if other == "another system prompt":
        parts = parts[1:]
    _, sequence = run(engines(snapshots=Snapshots(store, identity)), parts)
    assert (sequence.n_restored, sequence.n_encoded) == (0, 1)


def test_a_damaged_snapshot_is_computed_again(engines: MakeEngine, store: Store) -> None:
    first = engines(snapshots=Snapshots(store, "here"))
    expected, _ = run(first, prompt((image(1), COUNT)))
    first._slots.close()
    (path,) = (path for path in store.folder.rglob("*") if path.is_file())
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    answer, sequence = run(engines(snapshots=Snapshots(store, "here")), prompt((image(1), COUNT)))
    assert answer == expected
    assert sequence.n_restored == 0


def test_a_snapshot_that_llama_refuses_is_dropped(engines: MakeEngine, store: Store) -> None:
    first = engines(snapshots=Snapshots(store, "here"))
    expected, sequence = run(first, prompt((image(1), COUNT)))
    first._slots.close()
    snapshots = Snapshots(store, "here")
    found = snapshots.find(sequence.segments, 0)
    assert found is not None
    snapshots.save(found[0], bytes(found[1])[: len(found[1]) // 2])
    snapshots.close()
    answer, again = run(engines(snapshots=Snapshots(store, "here")), prompt((image(1), COUNT)))
    assert answer == expected
    assert again.n_restored == 0


def test_what_is_in_memory_is_preferred(engines: MakeEngine, store: Store) -> None:
    engine = engines(snapshots=Snapshots(store, "here"))
    run(engine, prompt((image(1), LEFT)))
    _, sequence = run(engine, prompt((image(1), COUNT)))
    assert sequence.n_restored == 0
    assert sequence.n_cached > 35


def test_two_images_are_restored_together_or_as_far_as_they_match(engines: MakeEngine, store: Store) -> None:
    def ask(*images: int) -> tuple[int, int]:
        engine = engines(snapshots=Snapshots(store, "here"))
        _, sequence = run(engine, prompt((*map(image, images), "Describe the images.")))
        engine._slots.close()
        return sequence.n_restored, sequence.n_encoded

    assert ask(1) == (0, 1)
    one, _ = ask(1, 2)
    assert one > 35, "the first image was known"
    both, n_encoded = ask(1, 2)
    assert both > one + 35
    assert n_encoded == 0


def test_size_and_time_decide_whether_one_pays() -> None:
    qwen2_vl_2b, llava_7b = 1000 * 28_672, 576 * 524_288
    assert pays(qwen2_vl_2b, seconds=5.0)
    assert not pays(llava_7b, seconds=30.0)
    assert not pays(qwen2_vl_2b, seconds=0.05), "computing it again is faster than the disk"
    assert not pays(MAX_BYTES + 1, seconds=1e9)


@given(st.lists(st.sampled_from(["text", "a0", "a1", "b0"]), max_size=8))
def test_a_boundary_never_lies_inside_an_image(kinds: list[str]) -> None:
    segments = [
        TextSegment((1,)) if kind == "text" else ImageSegment(kind[0], int(kind[1]), n_cells=4, n_pos=2)
        for kind in kinds
    ]
    ends = image_ends(segments)
    assert ends == sorted(ends, reverse=True)
    for end in ends:
        last = segments[end - 1]
        assert isinstance(last, ImageSegment)
        following = segments[end] if end < len(segments) else None
        is_next_tile = isinstance(following, ImageSegment) and (following.image_id, following.ordinal) == (
            last.image_id,
            last.ordinal + 1,
        )
        assert not is_next_tile
