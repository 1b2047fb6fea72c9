"""Runs the command line often and cheaply: each run is a process of its own, forked from one that has imported much.

Importing takes most of the time of a short run. Only that is spared; tests of how the program starts, of signals and of
terminals start it themselves.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

from ggufvlm.cli.commands import COMMANDS

_PRELOADED = ("ggufvlm.cli.main", "ggufvlm.vlm.vlm", "ggufvlm.llama.loading", "llguidance")
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "GGML_", "MALLOC_")
_PIPE_SIZE = 1 << 20  # whatever is told fits in: nobody has to read while the program runs


def run_program(
    *arguments: str, folder: Path, given: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """``ggufvlm ARGUMENTS`` with pipes at both ends.

    Args:
        arguments: what follows the program's name.
        folder: where it runs.
        given: its standard input.
        timeout: in seconds.
    """
    command = [sys.executable, "-m", "ggufvlm", *arguments]
    if sys.platform != "linux" or len(given) >= _PIPE_SIZE:
        return subprocess.run(command, input=given, capture_output=True, cwd=folder, timeout=timeout, check=False)
    at_start = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}
    parent = _parent(tuple(at_start.items()))
    (stdin, write), (read_out, stdout), (read_error, stderr) = (_wide_pipe() for _ in range(3))
    with os.fdopen(read_out, "rb") as out, os.fdopen(read_error, "rb") as error:
        with os.fdopen(write, "wb") as file:
            file.write(given)
        request = json.dumps([arguments, str(folder), dict(os.environ)]).encode()
        socket.send_fds(parent, [request], [stdin, stdout, stderr])
        for fd in (stdin, stdout, stderr):
            os.close(fd)
        parent.settimeout(timeout)
        try:
            code = json.loads(parent.recv(64))
        except TimeoutError as late:
            _parent.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout) from late
        return subprocess.CompletedProcess(command, code, out.read(), error.read())


def _wide_pipe() -> tuple[int, int]:
    import fcntl

    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return ends


@functools.cache
def _parent(_at_start: tuple[tuple[str, str], ...]) -> socket.socket:
    """A line to a process that forks; one for each set of variables that are read before a program's first line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe = subprocess.PIPE  # as the children's streams will be
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import fork_and_run; fork_and_run({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
    atexit.register(_end, ours, process)
    return ours


def _end(line: socket.socket, process: subprocess.Popen[bytes]) -> None:
    line.close()
    process.communicate()


def fork_and_run(fd: int) -> None:
    """Fork for each request that comes over a socket; in the child, run the program with it."""
    commands = [f"ggufvlm.cli.{place.partition(':')[0]}" for place, _ in COMMANDS.values()]
    for module in (*_PRELOADED, *commands):
        importlib.import_module(module)
    with socket.socket(fileno=fd) as requests:
        while True:
            request, streams, _, _ = socket.recv_fds(requests, 1 << 18, 3)
            if not request:
                return
            child = os.fork()
            if child == 0:
                break
            for stream in streams:
                os.close(stream)
            requests.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    arguments, folder, environment = json.loads(request)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ggufvlm", *arguments]
    runpy.run_module("ggufvlm", run_name="__main__", alter_sys=True)
