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
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

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
    (stdin, write), (read_out, stdout), (read_error, stderr) = (_wide_pipe() for _ in range(3))
    with os.fdopen(read_out, "rb") as out, os.fdopen(read_error, "rb") as error:
        with os.fdopen(write, "wb") as file:
            file.write(given)
        parent = _start(arguments, folder, dict(os.environ), [stdin, stdout, stderr])
        parent.settimeout(timeout)
        try:
            code = json.loads(parent.recv(64))
        except TimeoutError as late:
            _parent.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout) from late
        return subprocess.CompletedProcess(command, code, out.read(), error.read())


def see_program(
    *arguments: str, folder: Path, given: bytes | None = None, key: str = "", columns: int = 80, timeout: float = 60
) -> tuple[str, int]:
    """``ggufvlm ARGUMENTS`` on a pseudo-terminal.

    Args:
        arguments: what follows the program's name.
        folder: where it runs.
        given: its standard input, if that is a pipe.
        key: is struck when it waits for one.
        columns: of the terminal.
        timeout: in seconds.

    Returns:
        All that the terminal got, and the exit code.
    """
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo-terminals")
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    stdin = os.dup(theirs)
    if given is not None:
        os.close(stdin)
        stdin, write = _wide_pipe()
        with os.fdopen(write, "wb") as file:
            file.write(given)
    environment = {**os.environ, "TERM": "xterm-256color"}
    parent = _start(arguments, folder, environment, [stdin, os.dup(theirs), theirs])
    written, code = b"", None
    deadline = time.monotonic() + timeout
    while code is None:
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([ours, parent], [], [], min(left, 0.02) if key else left)
        if key and not termios.tcgetattr(ours)[3] & termios.ICANON:
            os.write(ours, key.encode())
            key = ""
        elif not ready and left == 0:
            _parent.cache_clear()
            raise subprocess.TimeoutExpired([*arguments], timeout, written)
        piece = _read_terminal(ours) if ours in ready else b""
        written += piece
        if not piece and parent in ready:
            code = json.loads(parent.recv(64))
    os.close(ours)
    return written.decode(), code


def _read_terminal(fd: int) -> bytes:
    """What came; nothing if nobody has the other end any more."""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""


def _start(arguments: Sequence[str], folder: Path, environment: dict[str, str], streams: list[int]) -> socket.socket:
    """Have the program run with these streams, which are closed here. The line tells its exit code."""
    at_start = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}
    parent = _parent(tuple(at_start.items()))
    socket.send_fds(parent, [json.dumps([arguments, str(folder), environment]).encode()], streams)
    for fd in streams:
        os.close(fd)
    return parent


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
