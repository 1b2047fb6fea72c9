from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.cache.store import Store
from ggufvlm.engine.embedding_cache import DiskEmbeddings, EmbeddingCache


def rows(count: int) -> np.ndarray:
    return np.zeros((count, 25), np.float32)  # 100 bytes a row


def test_what_was_kept_comes_back() -> None:
    cache = EmbeddingCache(1000)
    kept = rows(3)
    cache.put("a", 0, kept)
    assert cache.get("a", 0) is kept
    assert cache.get("a", 1) is None
    assert cache.get("b", 0) is None


def test_the_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache(1000)
    for name in "abc":
        cache.put(name, 0, rows(3))
    cache.get("a", 0)
    cache.put("d", 0, rows(3))
    assert cache.get("b", 0) is None
    assert cache.get("a", 0) is not None
    assert cache.n_bytes == 900


def test_something_too_large_is_not_kept_and_drops_nothing() -> None:
    cache = EmbeddingCache(1000)
    cache.put("a", 0, rows(3))
    cache.put("b", 0, rows(11))
    assert len(cache) == 1
    assert cache.n_bytes == 300


def test_replacing_counts_once() -> None:
    cache = EmbeddingCache(1000)
    cache.put("a", 0, rows(3))
    cache.put("a", 0, rows(4))
    assert (len(cache), cache.n_bytes) == (1, 400)


# ---- on disk


WIDTH = 25


def later(folder: Path, *identity: str, width: int = WIDTH) -> EmbeddingCache:
    """The cache of another process."""
    return EmbeddingCache(1000, DiskEmbeddings(Store(folder, 10**9), identity or ("projector", "library"), width))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_later_process_gets_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, n_cells: int, width: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    bits = np.random.default_rng(seed).integers(0, 2**32, (n_cells, width), np.uint32)
    kept = np.where(np.isfinite(bits.view(np.float32)), bits.view(np.float32), np.float32(-0.0))
    later(folder, width=width).put("a", 3, kept)
    found = later(folder, width=width).get("a", 3, n_cells)
    assert found is not None
    assert (found.shape, found.dtype) == (kept.shape, np.float32)
    assert found.tobytes() == kept.tobytes()


def test_rows_that_do_not_lie_together_are_kept_rightly(tmp_path: Path) -> None:
    table = np.arange(200, dtype=np.float32).reshape(8, WIDTH)
    later(tmp_path).put("a", 0, table[::2])
    assert np.array_equal(later(tmp_path).get("a", 0, 4), table[::2])


def test_all_that_decides_about_the_numbers_has_to_match(tmp_path: Path) -> None:
    later(tmp_path).put("a", 0, rows(3))
    assert later(tmp_path).get("a", 0, 3) is not None
    assert later(tmp_path).get("a", 0) is None, "without a size the disk is not asked"
    for image, ordinal, n_cells in (("b", 0, 3), ("a", 1, 3), ("a", 0, 4)):
        assert later(tmp_path).get(image, ordinal, n_cells) is None
    for identity in (("projector", "library 2"), ("projector 2", "library"), ("projector",), ("projectorlibrary",)):
        assert later(tmp_path, *identity).get("a", 0, 3) is None
    assert later(tmp_path, width=75).get("a", 0, 1) is None


def test_what_came_from_disk_stays_in_ram(tmp_path: Path) -> None:
    later(tmp_path).put("a", 0, rows(3))
    cache = later(tmp_path)
    found = cache.get("a", 0, 3)
    assert (len(cache), cache.n_bytes) == (1, 300)
    Store(tmp_path, 0).clear()
    assert cache.get("a", 0, 3) is found


def test_what_ram_dropped_comes_from_disk(tmp_path: Path) -> None:
    cache = later(tmp_path)
    for name in "abcd":
        cache.put(name, 0, rows(3) + ord(name))
    assert cache.n_bytes == 900
    assert np.array_equal(cache.get("a", 0, 3), rows(3) + ord("a"))
    cache.put("large", 0, rows(20))
    assert len(cache.get("large", 0, 20)) == 20


def test_a_wrong_number_of_rows_in_ram_is_no_hit(tmp_path: Path) -> None:
    cache = EmbeddingCache(1000)
    cache.put("a", 0, rows(3))
    assert cache.get("a", 0, 4) is None
    assert len(cache.get("a", 0, 3)) == 3


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_gone_wrong_do_not_outlive_the_process(tmp_path: Path, wrong: float) -> None:
    broken = rows(3)
    broken[1, 2] = wrong
    later(tmp_path).put("a", 0, broken)
    assert Store(tmp_path, 0).stats() == (0, 0)


@pytest.mark.parametrize(
    ("meta", "payload"),
    [
        ({"shape": [3, WIDTH]}, np.full((3, WIDTH), np.nan, np.float32).tobytes()),
        ({"shape": [WIDTH, 3]}, rows(3).tobytes()),
        ({"shape": [3, WIDTH]}, rows(3).tobytes()[:-4]),
        ({"shape": "wide"}, rows(3).tobytes()),
        ({}, rows(3).tobytes()),
    ],
)
def test_an_entry_that_does_not_hold_what_its_name_says(tmp_path: Path, meta: dict, payload: bytes) -> None:
    later(tmp_path).put("a", 0, rows(3))
    (path,) = tmp_path.iterdir()
    Store(tmp_path, 10**9).put(path.stem, meta, [payload])
    assert later(tmp_path).get("a", 0, 3) is None


def test_damage_on_disk_is_a_miss(tmp_path: Path) -> None:
    later(tmp_path).put("a", 0, rows(3))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert later(tmp_path).get("a", 0, 3) is None
    assert not path.exists()


def test_without_a_place_on_disk_the_ram_still_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = later(tmp_path / "file")
    cache.put("a", 0, rows(3))
    assert len(cache.get("a", 0, 3)) == 3
