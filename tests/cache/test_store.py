"""The store: what comes back is what was kept or nothing, whatever happens to the files meanwhile."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufvlm.cache.folder import private_folder, read_note, write_note
from ggufvlm.cache.limits import open_store
from ggufvlm.cache.store import Store, digest
from ggufvlm.errors import ModelError

KEY, OTHER = digest("a"), digest("b")
GB = 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", GB)


def file_of(store: Store, key: str = KEY) -> Path:
    (path,) = store.folder.glob(f"{key}*")
    return path


def payload_of(store: Store, key: str = KEY) -> bytes | None:
    entry = store.get(key)
    return None if entry is None else bytes(entry.payload)


# ---- what was kept comes back


def test_what_was_kept_comes_back(store: Store) -> None:
    assert store.get(KEY) is None
    assert store.put(KEY, {"shape": [2, 3], "of": "ü"}, [b"some", bytearray(b" by"), memoryview(b"tes")])
    entry = store.get(KEY)
    assert entry is not None
    assert entry.meta == {"shape": [2, 3], "of": "ü"}
    assert bytes(entry.payload) == b"some bytes"
    assert store.contains(KEY)
    assert not store.contains(OTHER)
    assert payload_of(Store(store.folder, GB)) == b"some bytes", "also in a later process"


def test_an_entry_may_be_empty_and_may_be_replaced(store: Store) -> None:
    assert store.put(KEY, {}, [])
    assert payload_of(store) == b""
    assert store.put(KEY, {}, [b"more"])
    assert payload_of(store) == b"more"
    assert store.stats()[0] == 1


def test_a_large_entry(store: Store) -> None:
    data = os.urandom(20_000_003)
    store.put(KEY, {}, [data[:1000], data[1000:]])
    assert payload_of(store) == data


def test_only_the_user_may_look_into_it(store: Store) -> None:
    old = os.umask(0)
    try:
        store.put(KEY, {}, [b"private"])
    finally:
        os.umask(old)
    if os.name == "posix":
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(file_of(store).stat().st_mode) == 0o600


def test_a_key_is_a_digest_and_never_a_path(store: Store) -> None:
    for key in ("", "../../etc/passwd", "A" * 64, KEY + "/x", KEY + "\n"):
        with pytest.raises(ValueError, match="digest"):
            store.get(key)


@given(st.lists(st.text(st.characters())), st.lists(st.text(st.characters())))
def test_other_parts_give_another_digest(one: list[str], two: list[str]) -> None:
    assert (digest(*one) == digest(*two)) == (one == two)


def test_the_same_text_cut_elsewhere_gives_another_digest() -> None:
    cuts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("3:abc",), ("\udc80",), ("\ud800",)]
    assert len({digest(*parts) for parts in cuts}) == len(cuts)


# ---- damage


def test_a_flipped_bit_anywhere_is_noticed_and_the_file_goes(store: Store) -> None:
    store.put(KEY, {"n": 1}, [b"payload"])
    path = file_of(store)
    sound = path.read_bytes()
    for place in range(len(sound)):
        for bit in (0, 7):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert store.get(KEY) is None, f"byte {place}"
            assert not path.exists()


def test_a_file_cut_anywhere_or_made_longer_is_noticed(store: Store) -> None:
    store.put(KEY, {"n": 1}, [b"payload"])
    path = file_of(store)
    sound = path.read_bytes()
    for damaged in [sound[:n] for n in range(len(sound))] + [sound + b"\0", bytes(len(sound))]:
        path.write_bytes(damaged)
        assert store.get(KEY) is None
        assert not path.exists()
    path.write_bytes(sound)
    assert payload_of(store) == b"payload"


def test_a_renamed_file_is_not_taken_for_another(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    renamed = Path(str(file_of(store)).replace(KEY, OTHER))
    shutil.copy(file_of(store), renamed)
    assert store.get(OTHER) is None
    assert not renamed.exists()
    assert payload_of(store) == b"payload"


def test_another_version_is_not_read(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    data = bytearray(file_of(store).read_bytes())
    assert data[8:12] == b"\1\0\0\0"
    data[8] = 2
    file_of(store).write_bytes(data)
    assert store.get(KEY) is None


def test_after_damage_it_can_be_kept_anew(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    file_of(store).write_bytes(b"")
    assert store.get(KEY) is None
    assert store.put(KEY, {}, [b"payload"])
    assert payload_of(store) == b"payload"


def test_a_folder_in_the_place_of_an_entry(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    path = file_of(store)
    path.unlink()
    (path / "mine").mkdir(parents=True)
    assert store.get(KEY) is None
    assert not store.contains(KEY)
    assert not store.put(KEY, {}, [b"payload"])
    assert store.stats() == (0, 0)
    assert store.clear() == 0
    assert (path / "mine").is_dir(), "it is not ours"
    assert not list(store.folder.glob(".*"))


# ---- trouble with the disk


def test_a_folder_that_cannot_be_made_switches_it_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "store"):
        store = Store(folder, GB)
        assert not store.put(KEY, {}, [b"payload"])
        assert store.get(KEY) is None
        assert not store.contains(KEY)
        store.remove(KEY)
        assert (store.stats(), store.clear()) == ((0, 0), 0)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_while_writing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(OTHER, {}, [b"earlier"])
    really_open = os.open

    def full(path: Path, flags: int, mode: int = 0o777) -> int:
        os.close(really_open(path, flags, mode))
        return really_open("/dev/full", os.O_WRONLY)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        assert not store.put(KEY, {}, [b"payload"])
    assert payload_of(store, OTHER) == b"earlier"
    assert [path.name for path in store.folder.iterdir()] == [file_of(store, OTHER).name], "nothing half done is left"


def test_files_and_folders_may_vanish(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    file_of(store).unlink()
    assert store.get(KEY) is None
    store.put(KEY, {}, [b"payload"])
    shutil.rmtree(store.folder)
    assert store.get(KEY) is None
    assert store.put(KEY, {}, [b"again"])
    assert payload_of(store) == b"again"


# ---- the limit


def sizes(store: Store) -> int:
    return sum(path.stat().st_size for path in store.folder.iterdir())


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 10_000)
    keys = [digest(str(i)) for i in range(5)]
    for key in keys[:4]:
        assert store.put(key, {}, [bytes(2200)])
    assert payload_of(store, keys[0]) is not None
    assert store.put(keys[4], {}, [bytes(2200)])
    assert [store.contains(key) for key in keys] == [True, False, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3000), st.booleans()), max_size=40))
def test_the_limit_holds_and_the_newest_stays(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    store = Store(tmp_path_factory.mktemp("store"), 10_000)
    newest: dict[int, bytes] = {}
    for name, size, reads in steps:
        key = digest(str(name))
        if reads:
            assert payload_of(store, key) in (None, newest.get(name))
            continue
        data = os.urandom(size)
        if store.put(key, {}, [data]):
            newest[name] = data
            assert payload_of(store, key) == data
        else:
            assert size > 2300
        assert sizes(store) <= 10_000
        assert store.stats()[1] == sizes(store)


def test_something_too_large_is_not_kept_and_drops_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, 10_000)
    store.put(KEY, {}, [bytes(2000)])
    assert not store.put(OTHER, {}, [bytes(2500)])
    assert payload_of(store) == bytes(2000)


def test_a_store_of_no_bytes_keeps_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, 0)
    assert not store.put(KEY, {}, [])
    assert store.stats() == (0, 0)


def test_a_full_disk_makes_it_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100_000))
    store = Store(tmp_path, GB)
    assert not store.put(KEY, {}, [bytes(3000)])
    for i in range(20):
        assert store.put(digest(str(i)), {}, [bytes(2000)])
        assert 10 * sizes(store) <= 100_000 + sizes(store)
    assert store.contains(digest("19"))


# ---- leftovers and clearing


def test_what_killed_processes_left_is_swept_up_after_an_hour(tmp_path: Path) -> None:
    old, young, foreign = tmp_path / ".a.entry.1234.partial", tmp_path / ".b.entry.1234.partial", tmp_path / "notes.txt"
    for path in (old, young, foreign):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 7200, time.time() - (7200 if path != young else 60)))
    store = Store(tmp_path, GB)
    store.put(KEY, {}, [b"payload"])
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
    assert store.stats() == (1, file_of(store).stat().st_size)
    assert store.clear() == 4 + 32 + 64 + 2 + 7
    assert list(tmp_path.iterdir()) == [foreign]
    assert store.put(KEY, {}, [b"payload"])


def test_one_entry_can_be_removed(store: Store) -> None:
    store.put(KEY, {}, [b"payload"])
    store.put(OTHER, {}, [b"payload"])
    store.remove(KEY)
    store.remove(KEY)
    assert (store.contains(KEY), store.contains(OTHER)) == (False, True)


WRITER = """
import random, sys
from pathlib import Path
from ggufvlm.cache.store import Store, digest
store = Store(Path(sys.argv[1]), 200_000)
random.seed(int(sys.argv[2]))
for _ in range(400):
    name = random.randrange(30)
    entry = store.get(digest(str(name)))
    assert entry is None or bytes(entry.payload) == bytes([name]) * 10_000, "torn"
    assert store.put(digest(str(name)), {"name": name}, [bytes([name]) * 10_000])
"""


def test_several_processes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(i)]) for i in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = Store(folder, 200_000)
    count, n_bytes = store.stats()
    assert 10 <= count <= 19
    assert n_bytes <= 200_000 + 2 * 11_000, "each may be writing one when another one counts"
    for name in range(30):
        assert payload_of(store, digest(str(name))) in (None, bytes([name]) * 10_000)
    assert not list(folder.glob(".*"))


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(tmp_path / "cache"))
    write_note("seen", "mine")
    assert open_store("embeddings") is not None
    if os.getuid() == 0:
        os.chown(tmp_path / "cache", 4321, 4321)
    else:  # who may not give a folder away becomes somebody else
        monkeypatch.setattr("os.getuid", lambda: 4321)
    with pytest.raises(ModelError, match="another user") as refused:
        private_folder("projectors")
    assert "GGUFVLM_CACHE_DIR" in (refused.value.hint or "")
    assert (read_note("seen"), open_store("embeddings")) == (None, None)
