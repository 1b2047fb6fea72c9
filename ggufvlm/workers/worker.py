"""A child process that is told things and says things: when it crashes or hangs, its parent goes on."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from queue import SimpleQueue
from typing import IO, Any

from ggufvlm.workers.framing import frame, read_message
from ggufvlm.workers.launch import command

_END_TIMEOUT = 5.0  # seconds that a process gets to end by itself
_TAIL = 20_000  # bytes of stderr in which its last words are looked for
_LONGEST_WORDS = 200


class Worker:
    """One child process, from its start to its end.

    Args:
        module: its function ``main`` runs in the child; it talks through :class:`~ggufvlm.workers.parent.Parent`.
        on_message: gets each message of the child, called from a thread of the worker's own.
        on_end: called once, after the last message, with how the process ended in words; from the same thread.
        show_stderr: let what the child writes to stderr through; else its end says the last error in it.
        new_session: keep the signals of the terminal away from the child, Ctrl-C among them.
        max_memory: bytes of address space that the child may have; ``None`` for no limit.

    Attributes:
        pid: the process id; its process may have ended.

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self,
        module: str,
        *,
        on_message: Callable[[Any], None],
        on_end: Callable[[str], None],
        show_stderr: bool = False,
        new_session: bool = False,
        max_memory: int | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._why: str | None = None
        self._ended = threading.Event()
        self._unsent: SimpleQueue[tuple[bytes, bytes] | None] = SimpleQueue()
        self._stderr: IO[bytes] | None = None if show_stderr else tempfile.TemporaryFile()  # noqa: SIM115 - till its end
        try:
            self._process = subprocess.Popen(
                command(module, max_memory=max_memory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=new_session,
            )
        except BaseException:
            self._forget_stderr()
            raise
        self.pid = self._process.pid
        threading.Thread(target=self._write, name="ggufvlm-to-worker", daemon=True).start()
        threading.Thread(target=self._listen, name="ggufvlm-worker", daemon=True).start()

    def send(self, message: object) -> None:
        """Tell the child something. Never waits: a thread writes. What comes after its end is lost."""
        self._unsent.put(frame(message))

    def finish(self) -> None:
        """Let the child end by itself: it hears that there is nothing more."""
        self._unsent.put(None)

    def kill(self, why: str | None = None) -> None:
        """End the child on the spot; ``on_end`` is called soon after.

        Args:
            why: what ``on_end`` is to be told; ``None`` for how the process ended.
        """
        self._why = why or self._why
        self._process.kill()

    def close(self) -> None:
        """Let the child end, make it if it does not, and wait until it has. Safe to call twice."""
        self.finish()
        if not self._ended.wait(_END_TIMEOUT):
            self.kill()
            self._ended.wait()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """A watchdog: the child is killed when this block takes longer.

        Args:
            seconds: how long the block may take; how the process ended then says that it took longer.
        """
        timer = threading.Timer(seconds, self._time_is_up, (seconds,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_is_up(self, seconds: float) -> None:
        self.kill(f"it took longer than {seconds:g} s and was ended")

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # it has ended, which the listener sees
            while (data := self._unsent.get()) is not None:
                pipe.writelines(data)
                pipe.flush()
                del data  # it may be large, and the next one may be long in coming
        with contextlib.suppress(OSError):
            pipe.close()

    def _listen(self) -> None:
        pipe = self._process.stdout
        assert isinstance(pipe, BufferedReader)
        try:
            with pipe, contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                while True:
                    self._on_message(read_message(pipe))
        finally:
            self._bury()

    def _bury(self) -> None:
        try:
            code = self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:  # one that does not speak any more is of no use
            self._process.kill()
            code = self._process.wait()
        how = self._why or how_it_ended(code, self._last_words())
        self.finish()
        self._forget_stderr()
        try:
            self._on_end(how)
        finally:
            self._ended.set()

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""
        self._stderr.seek(0, 2)
        self._stderr.seek(max(0, self._stderr.tell() - _TAIL))
        return last_words(self._stderr.read().decode("utf-8", "replace"))

    def _forget_stderr(self) -> None:
        if self._stderr is not None:
            self._stderr.close()


def how_it_ended(code: int, words: str = "") -> str:
    """The end of a process: ``SIGABRT``, ``exit code 3``, with its last words in brackets if there are some."""
    how = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
    return f"{how} ({words})" if words else how


def last_words(stderr: str) -> str:
    """The last line of what a process wrote to stderr that tells of an error; empty if none does."""
    failed = [line for line in stderr.splitlines() if "GGML_ASSERT" in line or "rror" in line]
    return failed[-1].strip()[:_LONGEST_WORDS] if failed else ""
