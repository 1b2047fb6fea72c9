"""Where the program begins: Ctrl-C while modules are imported ends it without a traceback."""

from __future__ import annotations

import signal


def program() -> None:
    """The ``ggufvlm`` command."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # ignored in a background job
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ggufvlm.cli.main import program as run

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
