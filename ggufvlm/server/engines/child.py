"""An engine's process: :mod:`.process` starts it, tells it what to do and hears what comes of it."""

from __future__ import annotations

import logging
import signal
from concurrent.futures import Future

from ggufvlm.server.engines.messages import AskQuestion, Cancel, EngineReady, Load, Ping
from ggufvlm.server.engines.request_worker import RequestWorker
from ggufvlm.workers.parent import Parent, run_child


def main() -> None:
    """Load the model, then answer until the server ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server hears it, lets running answers end, and ends us then
    run_child(_serve)


def _serve(parent: Parent) -> None:
    from ggufvlm.vlm.vlm import VLM

    load: Load = parent.receive()
    ready: Future[RequestWorker] = Future()

    def take(message: AskQuestion | Cancel | Ping) -> None:
        if isinstance(message, Ping):
            parent.send(ready.result().pong())
        elif isinstance(message, Cancel):
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
    parent.send(EngineReady(vlm.loaded.on_gpu, vlm.handler.warnings))
    worker.relay()
