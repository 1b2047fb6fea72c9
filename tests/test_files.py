"""Files take their place whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ggufvlm import files
from ggufvlm.errors import InputError, ModelError, UsageError
from ggufvlm.files import check_output, read_text, replacing, replacing_durably, sweep

LONG_NAMES = ["a" * 250 + ".txt", "画" * 84 + ".x", "\N{GRINNING FACE}" * 62 + ".txt"]


@pytest.mark.parametrize("name", LONG_NAMES)
def test_names_of_any_length_are_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with replacing(target) as partial:
        partial.write_bytes(b"one")
    assert target.read_bytes() == b"one"
    with replacing_durably(target) as file:
        file.write(b"two")
        assert target.read_bytes() == b"one"
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError("no space")])
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "out.txt"
    target.write_bytes(b"old")

    def write_half_of_a_model() -> None:
        with replacing(target) as partial:
            partial.write_bytes(b"half")
            raise error

    def write_half_of_a_journal() -> None:
        with replacing_durably(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(ModelError if isinstance(error, OSError) else type(error)):
        write_half_of_a_model()
    with pytest.raises(type(error)):
        write_half_of_a_journal()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_texts_are_read_from_files_and_from_pipes_of_the_shell_only(tmp_path: Path) -> None:
    """A pipe into which nobody writes, and a device that never ends, hung every option that takes ``@FILE``."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            read_text(path)
    reading, writing = os.pipe()
    os.write(writing, "\ufeffgrün\n".encode())
    os.close(writing)
    assert read_text(Path(f"/dev/fd/{reading}")) == "grün\n"
    os.close(reading)


def test_texts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "image").write_bytes(b"\x89PNG")
    told = {"large": "larger than", "image": "not UTF-8", "gone": "No such file", "a\0b": "possible"}
    for name, words in told.items():
        with pytest.raises(InputError, match=words):
            read_text(tmp_path / name, max_bytes=10)


HALF_WRITTEN = """
import sys
from pathlib import Path
from ggufvlm.files import replacing_durably
with replacing_durably(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("open", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HALF_WRITTEN, str(tmp_path / "out.txt")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        (partial,) = tmp_path.iterdir()
        others = [tmp_path / name for name in (".mine.partial", ".a.0123456789.part", ".b.01234567.partial")]
        for path in others:
            path.touch()
        past = time.time() - 60
        for path in (partial, *others):
            os.utime(path, (past, past))
        _sweep_again(tmp_path)
        assert partial.exists(), "its writer lives"
        writer.kill()
    _sweep_again(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def _sweep_again(folder: Path) -> None:
    files._swept.clear()  # as for a new process
    sweep(folder)


def test_nothing_is_written_over_what_is_read_or_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("image.png", "other.png"):
        Path(name).touch()
    Path("link.png").symlink_to("image.png")
    Path("hard.png").hardlink_to("image.png")
    Path("gone.png").symlink_to("nowhere.png")
    os.mkfifo("pipe.png")
    inputs = ["other.png", "https://example.org/image.png", "-", b"bytes", "a\0b", tmp_path / "image.png"]
    for name in ("image.png", "link.png", "hard.png", "./other.png"):
        with pytest.raises(UsageError, match="itself"):
            check_output(Path(name), inputs)
    for name in ("gone.png", "pipe.png"):
        with pytest.raises(UsageError, match=name):
            check_output(Path(name))
    with pytest.raises(UsageError, match="is a link"):
        check_output(Path("link.png"), is_replaced=True)
    for name in ("new.png", "image.png", "link.png", "none/new.png", "x" * 300):
        check_output(Path(name))
