"""An engine's process: :mod:`.process` starts it, tells it what to do and hears what comes of it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from concurrent.futures import Future

from ggufvlm.errors import GGUFVLMError
from ggufvlm.server.engines.messages import AskQuestion, Cancel, EngineReady, Load
from ggufvlm.server.engines.request_worker import EngineEnded, RequestWorker
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.parent import Parent


def main() -> None:
    """Load the model, then answer until the server ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server hears it, lets running answers end, and ends us then
    parent = Parent()
    try:
        _serve(parent.receive(), parent)
    except GGUFVLMError as error:
        parent.send(Failure.of(error))
    os._exit(1)


def _serve(load: Load, parent: Parent) -> None:
    from ggufvlm.vlm.vlm import VLM

    ready: Future[RequestWorker] = Future()

    def take(message: AskQuestion | Cancel) -> None:
        if isinstance(message, Cancel):
            ready.result().cancel(message)
        else:
            ready.result().take(message)

    parent.listen(take)  # now, to see it if the server ends
    if load.debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
        logging.getLogger("PIL").setLevel(logging.WARNING)
    vlm = VLM(load.files, load.config, raw=load.raw)
    vlm.wait_until_loaded()
    worker = RequestWorker(vlm, load.config.n_slots, load.limits, parent.send)
    ready.set_result(worker)
    parent.send(EngineReady())
    try:
        worker.relay()
    except EngineEnded as error:
        sys.stderr.write(f"error: {error}\n")
