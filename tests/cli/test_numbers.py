"""Every option that takes a number, with numbers that nobody means: an answer or one line, never a signal or a hang."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm.cli.commands import COMMANDS, LazyGroup
from ggufvlm.errors import ExitCode
from tests.cli.conftest import Run

INTEGERS = ["-1", "0", "1", str(2**31 - 1), str(2**31), str(2**32), str(2**63), str(10**30), str(-(10**30))]
FRACTIONS = ["nan", "inf", "-inf", "-1", "0", "1e-38", "1e-320", "1e39", "1e308"]
ARGUMENTS = {
    "describe": ["blocks.png", "-n", "2"],
    "chat": ["blocks.png", "-n", "2"],
    "batch": ["blocks.png", "-n", "2", "-o", "out.jsonl"],
    "detect": ["blocks.png", "-n", "2"],
    "classify": ["blocks.png", "-l", "red,blue"],
    "ocr": ["blocks.png", "-n", "2"],
    "compare": ["blocks.png", "-n", "2", "-m", "demo", "-m", "demo"],
    "alt": ["page.html", "-n", "2"],
    "demo": ["-n", "2"],
    "bench": ["--image", "blocks.png", "--only", "prefill", "-n", "4", "--repeat", "1"],
    "quantize": ["model.gguf", "Q8_0", "-o", "small.gguf"],
    "serve": ["--port", "0"],
}
FINE = {*range(7), ExitCode.INTERRUPTED}


def numbers() -> Iterator[tuple[str, str, str]]:
    """All options that take a number, with each odd number."""
    commands = LazyGroup(name="ggufvlm").commands
    for command in COMMANDS:
        for option in getattr(commands[command], "params", ()):
            wanted = str(getattr(getattr(option, "type_descriptor", None), "annotation", None))
            for kind, values in (("int", INTEGERS), ("float", FRACTIONS)):
                if kind in wanted:
                    yield from ((command, option.opts[0], value) for value in values)


ALL = list(numbers())
ANSWERED = [case for case in ALL if case[0] != "serve"]


@pytest.fixture
def inputs(folder: Path) -> Path:
    (folder / "page.html").write_text('<img src="blocks.png">')
    return folder


def check(run: Run, command: str, option: str, value: str) -> None:
    given = list(ARGUMENTS[command])
    if option in given:  # what is given last would win
        at = given.index(option)
        del given[at : at + 2]
    done = run(command, *given, _joined(option, value), input=b"Hi\n" if command == "chat" else b"")
    assert done.returncode in FINE, (done.returncode, done.stderr)
    assert b"Traceback" not in done.stderr


def _joined(option: str, value: str) -> str:
    return f"{option}={value}" if option.startswith("--") else option + value


def test_there_are_such_options() -> None:
    assert {command for command, _, _ in ALL} == set(ARGUMENTS)
    assert len(ALL) > 800


@pytest.mark.parametrize(("command", "option", "value"), random.Random(5).sample(ANSWERED, 12))
def test_odd_numbers(run: Run, inputs: Path, command: str, option: str, value: str) -> None:
    check(run, command, option, value)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option", "value"), ANSWERED)
def test_all_odd_numbers(run: Run, inputs: Path, command: str, option: str, value: str) -> None:
    check(run, command, option, value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize(("command", "option", "value"), [case for case in ALL if case[0] == "serve"])
def test_odd_numbers_of_a_server(inputs: Path, command: str, option: str, value: str) -> None:
    given = [] if option == "--port" else ARGUMENTS[command]
    program = [sys.executable, "-m", "ggufvlm", command, "-m", "demo", *given, _joined(option, value)]
    with subprocess.Popen(program, cwd=inputs, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        first = server.stderr.readline()
        assert first.startswith(("error: ", "listening on ", "Usage: ")), first
        if first.startswith("listening"):
            server.send_signal(signal.SIGINT)
        _, rest = server.communicate(timeout=60)
    assert server.returncode in FINE
    assert "Traceback" not in rest
