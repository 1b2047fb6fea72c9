from __future__ import annotations

import os
from pathlib import Path

import ggufvlm
from tests.cli.conftest import Run

DEMO = Path(ggufvlm.__file__).parent / "demo"
MODEL, MMPROJ = str(DEMO / "tiny-qwen2vl-Q8_0.gguf"), str(DEMO / "mmproj-tiny-qwen2vl-F16.gguf")


def test_sizes_before_and_after(run: Run, folder: Path) -> None:
    done = run("quantize", MMPROJ, "mmproj.gguf", "q8_0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "mmproj-tiny-qwen2vl-F16.gguf  2.7 MB",
        "mmproj.gguf  1.6 MB, 59% of that",
    ]
    assert (folder / "mmproj.gguf").stat().st_size == 1_589_984


def test_a_quantized_source_is_warned_of(run: Run) -> None:
    assert run("quantize", MODEL, "a.gguf", "Q4_0").stderr == b""
    done = run("quantize", "a.gguf", "b.gguf", "Q4_K_M", "-t", "1")
    assert done.returncode == 0
    assert b"warning: a.gguf is quantized already" in done.stderr
    assert run("quantize", "a.gguf", "b.gguf", "Q4_K_M", "-q", "--force").stderr == b""


def test_refusals_are_one_line_and_a_hint(run: Run, folder: Path) -> None:
    (folder / "out.gguf").write_text("mine")
    for arguments, code, message in (
        ((MODEL, "out.gguf", "Q4_0"), 2, b"error: out.gguf exists\nhint: --force overwrites it\n"),
        ((MODEL, "new.gguf", "Q4_KM"), 2, b"error: unknown type: Q4_KM\nhint: did you mean Q4_K_M"),
        (("no.gguf", "new.gguf", "Q4_0"), 4, b"error: no such model file: no.gguf\n"),
    ):
        done = run("quantize", *arguments)
        assert done.returncode == code
        assert done.stderr.startswith(message)
    assert (folder / "out.gguf").read_text() == "mine"
    assert not (folder / "new.gguf").exists()


def test_no_link_and_no_pipe_is_replaced(run: Run, folder: Path) -> None:
    (folder / "mine.txt").write_text("mine")
    (folder / "link.gguf").symlink_to("mine.txt")
    os.mkfifo(folder / "pipe.gguf")
    for name in ("link.gguf", "pipe.gguf"):
        done = run("quantize", MMPROJ, name, "Q8_0", "--force")
        assert done.returncode == 2
        assert done.stderr.decode().startswith(f"error: {name} is ")
    assert (folder / "link.gguf").is_symlink()
    assert (folder / "pipe.gguf").is_fifo()
    assert (folder / "mine.txt").read_text() == "mine"
