"""A child process finds what its parent finds, and runs nothing that only lies in the working folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ggufvlm.workers.launch import command

SAY_WHAT_IS_IMPORTED = """
import json
import sys

import ggufvlm

def main():
    print(json.__file__, ggufvlm.__file__, *sys.argv[1:], sep="\\n")
    return 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that the parent finds by its search path."""
    folder = tmp_path / "mödules"
    folder.mkdir()
    (folder / "says_imports.py").write_text(SAY_WHAT_IS_IMPORTED)
    monkeypatch.syspath_prepend(folder)
    return "says_imports"


def test_it_runs_main_with_the_modules_of_the_parent(module: str) -> None:
    import json

    import ggufvlm

    done = subprocess.run(command(module, "a b", "-m"), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [json.__file__, ggufvlm.__file__, "a b", "-m"], done.stderr
    assert done.returncode == 7


@pytest.mark.parametrize("entry", ["", ".", "the folder itself"])
def test_modules_in_the_working_folder_are_not_imported(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    trap = tmp_path / "trap"
    (trap / "ggufvlm").mkdir(parents=True)
    for name in ("json.py", "ggufvlm/__init__.py", "runpy.py", "sitecustomize.py"):
        (trap / name).write_text("raise SystemExit('fell into the trap')")
    monkeypatch.chdir(trap)
    monkeypatch.setattr(sys, "path", [str(trap) if entry == "the folder itself" else entry, *sys.path])
    done = subprocess.run(command(module), capture_output=True, text=True, check=False)
    assert "trap" not in done.stdout + done.stderr
    assert done.returncode == 7, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space")
def test_a_limit_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "takes_memory.py").write_text("def main():\n    bytearray(1 << 31)\n")
    monkeypatch.syspath_prepend(tmp_path)
    free = subprocess.run(command("takes_memory"), capture_output=True, text=True, check=False)
    held = subprocess.run(command("takes_memory", max_memory=1 << 30), capture_output=True, text=True, check=False)
    assert (free.returncode, held.returncode) == (0, 1), free.stderr + held.stderr
    assert "MemoryError" in held.stderr
