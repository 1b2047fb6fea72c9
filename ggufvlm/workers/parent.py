"""The side of the child process: :mod:`.worker` starts it and is who it talks with."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ggufvlm.errors import EngineError, GGUFVLMError
from ggufvlm.workers.framing import Failure, read_message, write_message

_LONGEST_WORDS = 500


class Parent:
    """The process that started this one, as seen from here. Make it once, before anything is written to stdout.

    Messages come in through stdin and go out through stdout. What libraries print goes to stderr, so that it does not
    get between the messages. Ctrl-C is ignored: the parent hears it too, and ends this process. Without its parent
    this process ends at once, since nobody wants what it computes.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # not sys.stdin: Python aborts when it ends while a thread waits in a buffered reader
        self._in = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - as long as the process
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._one_at_a_time = threading.Lock()

    def send(self, message: object) -> None:
        """Say something to the parent, from any thread."""
        with self._one_at_a_time:
            try:
                write_message(self._out, message)
            except OSError:
                os._exit(1)

    def receive(self) -> Any:
        """Wait for the next message of the parent."""
        try:
            return read_message(self._in)
        except (EOFError, OSError):
            os._exit(0)

    def listen(self, take: Callable[[Any], None]) -> None:
        """Hand each further message to ``take``, in a thread: so this process also ends while it is busy.

        What ``take`` raises ends the process: nobody should wait for one that does not listen any more.
        """

        def hear() -> None:
            try:
                while True:
                    take(self.receive())
            except BaseException:  # noqa: BLE001 - the process ends here
                traceback.print_exc()
                os._exit(1)

        threading.Thread(target=hear, name="ggufvlm-parent", daemon=True).start()


def run_child(work: Callable[[Parent], None]) -> NoReturn:
    """The whole life of a child process: whatever goes wrong, its parent hears of it as a :class:`Failure`.

    The process ends at once then. An ordinary end waits for all threads, and one may wait for what never comes.

    Args:
        work: what it does, with its parent.
    """
    parent, code = Parent(), 0
    try:
        work(parent)
    except BaseException as error:  # noqa: BLE001 - told
        code = 1
        if not isinstance(error, GGUFVLMError):
            traceback.print_exc()
            error = EngineError(f"{type(error).__name__}: {error}"[:_LONGEST_WORDS])
        parent.send(Failure.of(error))
    sys.stderr.flush()
    os._exit(code)
