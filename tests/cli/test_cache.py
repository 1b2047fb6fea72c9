"""``ggufvlm cache``: what is shown is what lies on disk, and what is cleared is what was named."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ggufvlm.cache.folder import private_folder, write_note
from ggufvlm.cache.limits import LIMIT_VARIABLE, limit_of, open_store, parse_size
from ggufvlm.cache.store import digest
from ggufvlm.errors import UsageError
from tests.cli.conftest import Run, shown_lines

KEPT = {"embeddings": 2, "snapshots": 1, "projectors": 1, "notes": 1}


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    monkeypatch.delenv("GGUFVLM_ASSUME_YES", raising=False)


@pytest.fixture
def filled() -> Path:
    """A cache with something in every part."""
    for name in ("embeddings", "snapshots"):
        store = open_store(name)
        assert store is not None
        for number in range(KEPT[name]):
            assert store.put(digest(str(number)), {}, [bytes(1_000_000)])
    (private_folder("projectors") / "derived.gguf").write_bytes(bytes(3_000_000))
    write_note("finding", "yes")
    return Path(os.environ["GGUFVLM_CACHE_DIR"])


def counts(run: Run) -> dict[str, int]:
    return {part["name"]: part["count"] for part in json.loads(run("cache", "--json").stdout)}


def test_the_table(run: Run, filled: Path) -> None:
    done = run("cache")
    assert (done.returncode, done.stderr) == (0, b"")
    head, *lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert head == ["WHAT", "NUMBER", "SIZE", "LIMIT", "FOLDER"]
    assert lines == [
        ["embeddings", "2", "2.0", "MB", "2.0", "GB", str(filled / "embeddings")],
        ["snapshots", "1", "1.0", "MB", "4.0", "GB", str(filled / "snapshots")],
        ["projectors", "1", "3.0", "MB", str(filled / "projectors")],
        ["notes", "1", "3", "B", str(filled / "notes")],
    ]


def test_an_empty_cache_is_shown_and_nothing_is_made(run: Run) -> None:
    assert counts(run) == dict.fromkeys(KEPT, 0)
    assert not Path(os.environ["GGUFVLM_CACHE_DIR"]).exists()
    done = run("cache", "clear")
    assert (done.returncode, done.stderr) == (0, b"there is nothing to remove\n")


def test_as_json(run: Run, filled: Path) -> None:
    parts = json.loads(run("cache", "--json").stdout)
    assert parts[2] == {
        "name": "projectors",
        "count": 1,
        "size": 3_000_000,
        "limit": None,
        "folder": str(filled / "projectors"),
    }
    assert [part["limit"] for part in parts] == [2 * 10**9, 4 * 10**9, None, None]


@pytest.mark.parametrize(
    ("options", "left", "said"),
    [
        (["--embeddings"], {**KEPT, "embeddings": 0}, "2 embeddings removed: 2.0 MB are free again"),
        (["--snapshots"], {**KEPT, "snapshots": 0}, "1 snapshot removed: 1.0 MB are free again"),
        (["--projectors"], {**KEPT, "projectors": 0}, "1 projector removed: 3.0 MB are free again"),
        (
            ["--embeddings", "--projectors"],
            {**KEPT, "embeddings": 0, "projectors": 0},
            "2 embeddings, 1 projector removed: 5.0 MB are free again",
        ),
        (
            [],
            dict.fromkeys(KEPT, 0),
            "2 embeddings, 1 snapshot, 1 projector, 1 note removed: 6.0 MB are free again",
        ),
    ],
)
def test_what_is_named_goes(run: Run, filled: Path, options: list[str], left: dict[str, int], said: str) -> None:
    done = run("cache", "clear", *options, "-y")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"", said + "\n")
    assert counts(run) == left


def test_quietly(run: Run, filled: Path) -> None:
    done = run("cache", "clear", "-y", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert counts(run) == dict.fromkeys(KEPT, 0)


def test_files_of_others_stay(run: Run, filled: Path) -> None:
    (filled / "embeddings" / "mine.txt").write_text("mine")
    (filled / "projectors" / "mine").mkdir()
    (filled / "other").write_text("mine")
    assert run("cache", "clear", "-y").returncode == 0
    assert sorted(str(path.relative_to(filled)) for path in filled.rglob("*") if path.name not in KEPT) == [
        "embeddings/mine.txt",
        "other",
        "projectors/mine",
    ]


def test_without_a_terminal_nothing_goes_unasked(run: Run, filled: Path) -> None:
    done = run("cache", "clear")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "error: cache clear asks first, and there is no terminal to ask on",
        "hint: --yes, or GGUFVLM_ASSUME_YES=1",
    ]
    assert counts(run) == KEPT


@pytest.mark.parametrize(("answer", "left", "code"), [("y", 0, 0), ("n", 2, 1), ("", 2, 1)])
def test_on_a_terminal_it_asks(run: Run, filled: Path, answer: str, left: int, code: int) -> None:
    pexpect = pytest.importorskip("pexpect", reason="pseudo-terminals are tested on POSIX")
    command = ["-m", "ggufvlm", "cache", "clear", "--embeddings"]
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=60)
    child.expect(r"remove 2 embeddings \(2.0 MB\)\? \[y/N\]: ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert counts(run)["embeddings"] == left
    if not code:
        assert "2 embeddings removed: 2.0 MB are free again" in shown_lines(child.before, 80)


# ---- the limit


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("500MB", 500 * 10**6),
        ("10GB", 10**10),
        ("10g", 10**10),
        ("1.5 TiB", 3 * 2**39),
        ("2KiB", 2048),
        ("7", 7),
        ("7 B", 7),
        ("0", 0),
        ("", None),
        ("much", None),
        ("-1GB", None),
        ("1e9", None),
        ("nan", None),
        ("10GBit", None),
    ],
)
def test_sizes(text: str, n_bytes: int | None) -> None:
    assert parse_size(text) == n_bytes


def test_the_limit_is_divided(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "300MB")
    assert (limit_of("embeddings"), limit_of("snapshots")) == (10**8, 2 * 10**8)
    assert b"100 MB" in run("cache").stdout
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    assert open_store("embeddings") is None
    assert b"off" in run("cache").stdout


def test_a_limit_that_is_no_size(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "plenty")
    with pytest.raises(UsageError):
        open_store("snapshots")
    done = run("cache")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: GGUFVLM_CACHE_LIMIT=plenty is not a size\nhint: 500MB or 10GB; 0 keeps nothing\n"
    )


def test_a_cache_folder_that_cannot_be_made(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("mine")
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(folder / "file"))
    assert open_store("embeddings") is None
    assert counts(run) == dict.fromkeys(KEPT, 0)
    assert run("cache", "clear", "-y").returncode == 0
    assert (folder / "file").read_text() == "mine"


def test_showing_the_cache_loads_nothing_heavy(folder: Path) -> None:
    import subprocess

    for arguments in (["--help"], ["cache"], ["cache", "clear", "-y"]):
        program = (
            "import sys\nfrom ggufvlm.cli.main import main\n"
            f"sys.argv = ['ggufvlm', *{arguments!r}]\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = {'numpy', 'rich', 'llama_cpp', 'PIL', 'huggingface_hub'} & set(sys.modules)\n"
            "sys.exit(f'imported: {heavy}' if heavy else 0)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
