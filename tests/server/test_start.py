"""What ``ggufvlm serve`` refuses to start with, and how it says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ggufvlm
from tests.support.require_all import NO_IPV6
from tests.support.running import question, started

DEMO = Path(ggufvlm.__file__).parent / "demo"


def serve(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ggufvlm", "serve", *arguments],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "GGUFVLM_MODEL": "demo", **environment},
        check=False,
    )


BAD = {
    "other machines without a key": (["--host", "0.0.0.0"], 2, "--no-api-key"),
    "other machines over IPv6": (["--host", "::"], 2, "--no-api-key"),
    "a host that is not ours": (["--host", "no such host"], 2, "no such host"),
    "an address that is not ours": (["--host", "192.0.2.1", "--no-api-key"], 1, "192.0.2.1"),
    "a key and none": (["--api-key", "a", "--no-api-key"], 2, "leave one out"),
    "an empty key": (["--api-key", " "], 2, "empty"),
    "a key file that is not there": (["--api-key", "@none.txt"], 3, "none.txt"),
    "an unknown model": (["-m", "qwen2-vl-2bb"], 4, "qwen2-vl-2bb"),
    "the same model twice": (["-m", "demo", "-m", "demo"], 2, "two models are called demo"),
    "a projector for two": (["-m", "demo", "-m", "x.gguf", "--mmproj", "p.gguf"], 2, "--mmproj"),
    "a time that is none": (["--keep-alive", "soon"], 2, "soon"),
    "an endless grace": (["--grace", "-1"], 2, "--grace"),
    "no time at all": (["--timeout", "0"], 2, "--timeout"),
    "no slots": (["--slots", "0"], 2, "slots"),
    "a port that is none": (["--port", "70000"], 2, "port"),
    "layers that are no number": (["-ngl", "some"], 2, "-ngl"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_get_one_clear_line_and_a_code(tmp_path: Path, name: str) -> None:
    arguments, code, words = BAD[name]
    done = serve(tmp_path, *arguments)
    errors = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b""), errors
    assert words in " ".join(errors)
    assert "Traceback" not in " ".join(errors)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"error: 127.0.0.1:{port}: Address already in use",
        "hint: --port 0 takes a free one",
    ]


@pytest.mark.parametrize(("n_bytes", "preload"), [(1000, []), (1_000_000, ["--preload"])])
def test_a_damaged_model(tmp_path: Path, n_bytes: int, preload: list[str]) -> None:
    (tmp_path / "cut.gguf").write_bytes((DEMO / "tiny-qwen2vl-Q8_0.gguf").read_bytes()[:n_bytes])
    projector = str(DEMO / "mmproj-tiny-qwen2vl-F16.gguf")
    done = serve(tmp_path, "-m", "cut.gguf", "--mmproj", projector, "--port", "0", *preload)
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"cut.gguf" in done.stderr


def test_on_ipv6(tmp_path: Path) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip(NO_IPV6)
    with started(tmp_path, "--host", "::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert server.get("/health").json() == {"status": "ok"}


@pytest.mark.slow
def test_quiet(tmp_path: Path) -> None:
    with started(tmp_path, "--host", "localhost") as loud:
        assert loud.url.startswith("http://127.0.0.1:")
        loud.get("/v1/models")
        assert loud.stop() == 0
        assert "GET /v1/models 200" in loud.text()
    with started(tmp_path, "-q") as quiet:
        quiet.get("/v1/models")
        quiet.post(question())
        assert quiet.stop() == 0
        assert quiet.text().splitlines() == [f"listening on {quiet.url}"], "a port that was not chosen has to be told"
