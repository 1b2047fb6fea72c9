"""stdout and stderr that are closed, full, or in an encoding of few characters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LABELS = ["-m", "demo", "-l", "gr\u00fcn,\u8272", "-p", "What color is the square?"]
COMMANDS = {
    "describe": ["describe", "blocks.png", "-m", "demo"],
    "describe --json": ["describe", "blocks.png", "-m", "demo", "--json"],
    "detect": ["detect", "blocks.png", "-m", "demo"],
    "classify --csv": ["classify", "blocks.png", *LABELS, "--csv"],
    "ocr": ["ocr", "blocks.png", "-m", "demo"],
    "version": ["--version"],
}


def shell(
    folder: Path, arguments: list[str], redirection: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "ggufvlm", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=90, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_stdout_is_one_line(folder: Path, name: str) -> None:
    done = shell(folder, COMMANDS[name], "> /dev/full")
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("warning:")]
    assert (done.returncode, lines) == (1, ["error: stdout: No space left on device"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_closed_streams_take_what_they_are_given(folder: Path, name: str, closed: str) -> None:
    done = shell(folder, COMMANDS[name], closed)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert bool(done.stdout) == (closed == "2>&-"), "an answer does not need stderr"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locales")
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
)
def test_letters_that_stdout_does_not_have(folder: Path, environment: dict[str, str]) -> None:
    (folder / "labels.txt").write_text("gr\u00fcn\n\u8272\n", encoding="utf-8")
    done = shell(folder, ["classify", "blocks.png", "-m", "demo", "-l", "@labels.txt", "--json"], "", **environment)
    assert done.returncode == 0, done.stderr
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    names = [name.encode(encoding, "replace").decode(encoding) for name in ("gr\u00fcn", "\u8272")]
    assert sorted(json.loads(done.stdout.decode(encoding))["probabilities"]) == sorted(names)
