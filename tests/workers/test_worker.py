"""A child process talks with its parent, and whatever ends it, the parent hears how."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from ggufvlm.errors import EngineError, GGUFVLMError, ImageError, MissingExtra, ModelError
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.worker import Worker, how_it_ended, last_words
from tests.support.running import alive, wait_until

CHILD = """
import os, sys, threading, time
from queue import SimpleQueue
from ggufvlm.workers.parent import Parent

def main():
    parent = Parent()
    messages = SimpleQueue()
    parent.send(("first", parent.receive()))
    parent.listen(lambda message: message[1]() if message[0] == "call" else messages.put(message))
    while True:
        what, value = messages.get()
        if what == "echo":
            print("noise of a library")
            parent.send(value)
        elif what == "abort":
            print("GGML_ASSERT(n > 0) failed", file=sys.stderr, flush=True)
            print("a backtrace", file=sys.stderr, flush=True)
            os.abort()
        elif what == "hang":
            time.sleep(600)
        elif what == "close stdout":
            os.close(1), os.close(parent._out.fileno())
            time.sleep(600)
        elif what == "raise":
            raise ValueError("a bug")
"""
FAILING = """
import threading
from concurrent.futures import ThreadPoolExecutor
from ggufvlm.errors import ModelError
from ggufvlm.workers.parent import run_child

def main():
    run_child(work)

def work(parent):
    ThreadPoolExecutor().submit(threading.Event().wait)  # an ordinary end would wait for it
    what = parent.receive()
    if what == "expected":
        raise ModelError("tiny.gguf: damaged", hint="pull it again")
    if what == "unexpected":
        raise KeyError("a bug")
    if what == "exit":
        raise SystemExit(0)
"""

TIMEOUT = 60
KILLED = "exit code 1" if sys.platform == "win32" else "SIGKILL"


class Heard:
    """A worker, and what was heard of it."""

    def __init__(self, **options: Any) -> None:
        self.messages: SimpleQueue[Any] = SimpleQueue()
        self.ends: SimpleQueue[str] = SimpleQueue()
        self.worker = Worker("talking_child", on_message=self.messages.put, on_end=self.ends.put, **options)

    def next(self) -> Any:
        return self.messages.get(timeout=TIMEOUT)

    def end(self) -> str:
        return self.ends.get(timeout=TIMEOUT)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Heard]]:
    (tmp_path / "talking_child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    started: list[Heard] = []

    def begin(**options: Any) -> Heard:
        started.append(Heard(**options))
        started[-1].worker.send("hello")
        assert started[-1].next() == ("first", "hello")
        return started[-1]

    yield begin
    for heard in started:
        heard.worker.kill()
        heard.worker.close()


def test_messages_of_any_size_go_both_ways_whatever_is_printed(start: Callable[..., Heard]) -> None:
    heard = start()
    large = os.urandom(3_000_000)
    for value in (large, None, {"a": [1]}, large):
        heard.worker.send(("echo", value))
    assert [heard.next() for _ in range(4)] == [large, None, {"a": [1]}, large]
    heard.worker.close()
    heard.worker.close()
    assert heard.end() == "exit code 0"
    assert heard.ends.empty()


def test_sending_never_waits_and_the_end_is_heard_once(start: Callable[..., Heard]) -> None:
    heard = start()
    heard.worker.send(("hang", None))
    for _ in range(20):
        heard.worker.send(("echo", bytes(1_000_000)))  # far more than a pipe holds
    heard.worker.kill()
    assert heard.end() == KILLED
    heard.worker.send(("echo", 1))
    heard.worker.kill()
    heard.worker.close()
    assert heard.messages.empty()
    assert heard.ends.empty()


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_crash_is_told_with_its_last_words(start: Callable[..., Heard]) -> None:
    heard = start()
    heard.worker.send(("abort", None))
    assert heard.end() == "SIGABRT (GGML_ASSERT(n > 0) failed)"


def test_an_exception_is_told(start: Callable[..., Heard]) -> None:
    heard = start()
    heard.worker.send(("raise", None))
    assert heard.end() == "exit code 1 (ValueError: a bug)"


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("expected", ModelError, "tiny.gguf: damaged"),
        ("unexpected", EngineError, "KeyError: 'a bug'"),
        ("exit", EngineError, "SystemExit: 0"),
    ],
)
def test_every_failure_of_a_child_is_an_error_at_its_parent(
    what: str, error: type[GGUFVLMError], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_child.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    messages: SimpleQueue[Any] = SimpleQueue()
    ends: SimpleQueue[str] = SimpleQueue()
    worker = Worker("failing_child", on_message=messages.put, on_end=ends.put)
    worker.send(what)
    failure = messages.get(timeout=TIMEOUT).error()
    assert (type(failure), str(failure)) == (error, text)
    assert ends.get(timeout=TIMEOUT).startswith("exit code 1")


def test_a_child_that_cannot_listen_any_more_ends(start: Callable[..., Heard]) -> None:
    heard = start()
    heard.worker.send(("call", None))
    assert heard.end() == "exit code 1 (TypeError: 'NoneType' object is not callable)"


def test_a_watchdog_ends_what_takes_too_long(start: Callable[..., Heard]) -> None:
    heard = start()
    with heard.worker.within(TIMEOUT):
        heard.worker.send(("echo", 1))
        assert heard.next() == 1
    heard.worker.send(("hang", None))
    with heard.worker.within(0.2):
        assert heard.end() == "it took longer than 0.2 s and was ended"


@pytest.mark.slow
def test_one_that_neither_speaks_nor_ends_is_ended(start: Callable[..., Heard]) -> None:
    heard = start()
    heard.worker.send(("close stdout", None))
    assert heard.end() == KILLED


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")
def test_a_child_does_not_outlive_its_parent_even_while_it_is_busy(start: Callable[..., Heard], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}]\n"
        "from queue import SimpleQueue\n"
        "from ggufvlm.workers.worker import Worker\n"
        "heard = SimpleQueue()\n"
        "worker = Worker('talking_child', on_message=heard.put, on_end=print)\n"
        "worker.send(1), heard.get(), worker.send(('hang', None))\n"
        "print(worker.pid, flush=True)\n"
        "heard.get()\n"
    )
    start()  # the module is there
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not alive(child))


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        Worker("json", on_message=print, on_end=print)


def test_ends_in_words() -> None:
    assert how_it_ended(3) == "exit code 3"
    assert how_it_ended(-11) == "SIGSEGV"
    assert how_it_ended(-9999, "why") == "exit code -9999 (why)"
    assert last_words("fine\nError: a\nerror: b\nmore") == "error: b"
    assert last_words("") == ""


def test_errors_come_over_with_class_text_and_hint() -> None:
    error = Failure.of(ImageError("photo.jpg: damaged", hint="copy it again")).error()
    assert (type(error), str(error), error.hint) == (ImageError, "photo.jpg: damaged", "copy it again")
    assert type(Failure.of(MissingExtra("Parquet", "parquet")).error()) is EngineError
