from __future__ import annotations

import json
import sys

import pytest

from tests.cli.conftest import Run


def test_findings_as_lines(run: Run) -> None:
    done = run("doctor", "--offline")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("ok    ggufvlm: ")
    assert "ok    default model: demo, on this machine" in lines
    assert "ok    Hub: not asked" in lines
    assert done.stderr == b""


@pytest.mark.slow
def test_findings_as_json(run: Run) -> None:
    done = run("doctor", "--offline", "--json")
    findings = json.loads(done.stdout)
    assert {tuple(finding) for finding in findings} == {("topic", "status", "text", "remedy")}
    assert all(finding["status"] in ("ok", "warn") for finding in findings)


@pytest.mark.slow
def test_findings_in_colour(run: Run) -> None:
    done = run("doctor", "--offline", "--color", "on")
    assert b"\x1b[" in done.stdout
    assert b"llama-cpp-python" in done.stdout


def test_the_build_command_is_all_there_is_on_stdout(run: Run) -> None:
    done = run("doctor", "--build", "cpu-portable")
    assert done.returncode == 0
    (line,) = done.stdout.decode().splitlines()
    assert "GGML_NATIVE=OFF" in line
    assert "--no-binary llama-cpp-python llama-cpp-python==" in line
    assert b"C++ compiler" in done.stderr


def test_a_build_as_json(run: Run) -> None:
    done = run("doctor", "--build", "vulkan", "--json")
    plan = json.loads(done.stdout)
    assert plan["flags"]["GGML_VULKAN"] == "ON"
    assert plan["command"][0] == sys.executable
    assert set(plan["tools"]) == {"C++ compiler", "cmake", "ninja", "glslc"}
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "darwin", reason="there it could be built")
def test_a_build_that_cannot_succeed_is_not_begun(run: Run) -> None:
    done = run("doctor", "--build", "metal", "--run")
    assert done.returncode == 1
    assert b"error: macOS is missing for the metal build" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--build", "cudda"), b"no such build: cudda"), (("--run",), b"--run belongs to --build")],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], message: bytes) -> None:
    done = run("doctor", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert b"Traceback" not in done.stderr
