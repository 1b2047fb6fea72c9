"""An engine's process: :mod:`.process` starts it, tells it what to do and hears what comes of it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from concurrent.futures import Future
from typing import IO

from ggufvlm.batch.run.child import CRASH_VARIABLE
from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.engines.messages import Ask, Cancel, FromChild, Load, Ready
from ggufvlm.server.engines.request_worker import Desk, EngineEnded
from ggufvlm.workers.framing import Failure, read_message, write_message


def main() -> None:
    """Load, then answer until stdin ends."""
    # the server hears these, lets running answers end, and ends us then
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = _Pipe(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what libraries print must not get between the messages
    try:
        _serve(read_message(sys.stdin.buffer), pipe)
    except GGUFVLMError as error:
        pipe.send(Failure.of(error))
    os._exit(1)


class _Pipe:
    """Messages to the server, from any thread. Without a server there is nothing left to do."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: FromChild) -> None:
        with self._lock:
            try:
                write_message(self._file, message)
            except OSError:
                os._exit(1)


def _serve(load: Load, pipe: _Pipe) -> None:
    from ggufvlm.vlm.vlm import VLM

    ready: Future[Desk] = Future()
    threading.Thread(target=_listen, args=(ready,), daemon=True).start()  # now, to see it if the server ends
    if load.debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("PIL").setLevel(logging.WARNING)
    vlm = VLM(load.files, load.config, raw=load.raw)
    vlm.wait_until_loaded()
    desk = Desk(vlm, load.config.n_slots, load.limits, pipe.send)
    ready.set_result(desk)
    pipe.send(Ready())
    try:
        desk.hand_on()
    except EngineEnded as error:
        sys.stderr.write(f"error: {error}\n")


def _listen(ready: Future[Desk]) -> None:
    crash_on = os.environ.get(CRASH_VARIABLE)
    try:
        while True:
            message: Ask | Cancel = read_message(sys.stdin.buffer)
            if isinstance(message, Cancel):
                ready.result().cancel(message)
                continue
            if crash_on and crash_on in f"{message.asked.messages}{message.asked.raw_prompt}":
                os.abort()
            ready.result().take(message)
    except (EOFError, OSError):
        os._exit(0)  # the server is gone: nobody wants what is being computed


if __name__ == "__main__":
    main()
