"""Commands as a user runs them: in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ggufvlm
from ggufvlm.cli.main import main
from ggufvlm.gguf.header import read_header
from tests.support.program import run_program
from tests.support.scenes import Block, Scene

SCENE = Scene("white", (Block("blue", "column", (0.1, 0.15, 0.25, 0.9)), Block("red", "square", (0.5, 0.3, 0.8, 0.72))))
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, to work in."""
    SCENE.draw(140, 140).save(tmp_path / "blocks.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stuck(folder: Path) -> list[str]:
    """Arguments of ``describe`` for a model that never ends its answer.

    Its last norm is zero, so it finds all tokens equally likely and says the first one for ever.
    """
    demo = Path(ggufvlm.__file__).parent / "demo"
    header = read_header(demo / "tiny-qwen2vl-Q8_0.gguf")
    weights = bytearray((demo / "tiny-qwen2vl-Q8_0.gguf").read_bytes())
    norm = header.tensors["output_norm.weight"]
    start = header.data_offset + norm.offset
    weights[start : start + (norm.n_bytes or 0)] = bytes(norm.n_bytes or 0)
    (folder / "stuck.gguf").write_bytes(weights)
    return ["blocks.png", "-m", "stuck.gguf", "--mmproj", str(demo / "mmproj-tiny-qwen2vl-F16.gguf")]


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``ggufvlm ARGUMENTS`` with the built-in model and pipes at both ends."""

    monkeypatch.setenv("GGUFVLM_MODEL", "demo")

    def run(*arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_program(*arguments, folder=folder, given=input)

    return run


Said = tuple[int, str, str]
RunHere = Callable[..., Said]


@pytest.fixture
def run_here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Runs ``ggufvlm ARGUMENTS`` in this process, for what needs no model: (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")

    def run_here(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ggufvlm", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return (int(left.value.code or 0), *capsys.readouterr())

    return run_here


def shown_lines(written: str, columns: int, rows: int = 24) -> list[str]:
    """What a terminal of this size holds after these bytes: scroll-back and screen, line by line."""
    import pyte

    screen = pyte.HistoryScreen(columns, rows, history=1000)
    pyte.Stream(screen).feed(written)
    history = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    return [line.rstrip() for line in [*history, *screen.display]]
