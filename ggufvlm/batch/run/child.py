"""The child process of :mod:`.isolate`: questions come in through stdin, answers go out through stdout."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import IO, Any

from ggufvlm.batch.run.messages import Begin, End, Finished, More, Ready
from ggufvlm.errors import GGUFVLMError
from ggufvlm.vlm.map import Question
from ggufvlm.workers.framing import Failure, read_message, write_message

CRASH_VARIABLE = "GGUFVLM_TEST_CRASH_ON"
"""For tests: the process aborts when it is asked a prompt that contains this text."""


def main() -> None:
    """Load, then answer round after round until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends us
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the messages
    begin: Begin = read_message(sys.stdin.buffer)
    messages: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    try:
        _answer(begin, messages, out)
    except GGUFVLMError as error:
        write_message(out, Failure.of(error))
    except BrokenPipeError:
        os._exit(1)


def _listen(messages: SimpleQueue[Any]) -> None:
    try:
        while True:
            messages.put(read_message(sys.stdin.buffer))
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone: nobody wants what is being computed


def _answer(begin: Begin, messages: SimpleQueue[Any], out: IO[bytes]) -> None:
    from ggufvlm.vlm.vlm import VLM

    vlm = VLM(begin.files, begin.config, raw=begin.raw)
    vlm.wait_until_loaded()
    write_message(out, Ready())
    while True:
        for result in vlm.map(_round(messages, out), n_ahead=begin.n_ahead(begin.config)):
            failure = Failure.of(result.error) if result.error else None
            write_message(out, Finished(result.question.tag, result.answer, failure))
        write_message(out, End())


def _round(messages: SimpleQueue[Any], out: IO[bytes]) -> Iterator[Question]:
    crash_on = os.environ.get(CRASH_VARIABLE)
    while True:
        write_message(out, More())
        message = messages.get()
        if isinstance(message, End):
            return
        if crash_on and crash_on in message.prompt:
            os.abort()
        yield message


if __name__ == "__main__":
    main()
