"""An engine in a process of its own: when llama.cpp takes its process down, the run goes on.

Images that were being answered when the process ended are asked again one by one; the one that ends it again is
marked and passed over.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from ggufvlm.batch.run.messages import Begin, End, Finished, More, Ready
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.map import Question, Result
from ggufvlm.workers.framing import Failure, read_message, write_message

if TYPE_CHECKING:
    from typing_extensions import Self

_HOPELESS = 4
"""Images in a row that end the process, none answered between: then it is not the images."""


class EngineCrash(EngineError):  # noqa: N818 - reads as what happened
    """An image ended the engine's process twice."""


@dataclass(frozen=True, slots=True)
class _Gone:
    reason: str


class IsolatedEngine:
    """Answers questions as :meth:`VLM.map <ggufvlm.VLM.map>` does, in a child process that is replaced when it ends.

    Args:
        debug: let the child's own messages through.
    """

    def __init__(self, files: ModelFiles, config: EngineConfig, *, raw: bool = False, debug: bool = False) -> None:
        self._begin = Begin(files=files, config=config, raw=raw, debug=debug)
        self._debug = debug
        self._child: _Child | None = None
        self._n_crashed = 0
        self._reason = ""
        self.n_restarts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Load the model.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        self._child = _Child(self._begin, self._debug)
        message = self._child.events.get()
        if isinstance(message, Ready):
            return
        self._child.kill()
        self._child = None
        if isinstance(message, Failure):
            raise message.error()
        raise EngineError(f"the engine's process ended while it loaded the model: {message.reason}")

    def map(self, questions: Iterable[Question]) -> Generator[Result, None, None]:
        """Answer questions; results come in the order in which they are finished.

        Raises:
            EngineError: the process ends whatever it is asked.
        """
        source = iter(questions)
        more = True
        while more:
            suspects: dict[int, Question] = {}
            more = yield from self._round(source, suspects)
            for question in suspects.values():
                alone: dict[int, Question] = {}
                yield from self._round(iter([question]), alone)
                for killer in alone.values():
                    self._n_crashed += 1
                    yield Result(killer, error=EngineCrash(f"it ended the engine's process twice: {self._reason}"))
                    if self._n_crashed >= _HOPELESS:
                        raise EngineError(
                            f"the engine's process ends on every image: {self._reason}",
                            hint="ggufvlm doctor; --no-isolate --debug shows more",
                        )

    def _round(self, source: Iterator[Question], left: dict[int, Question]) -> Generator[Result, None, bool]:
        """Ask until the questions or the process end; returns whether there may be more questions.

        What was in flight when the process ended is put into ``left``.
        """
        if self._child is None:
            self.n_restarts += 1
            self.start()
        assert self._child is not None
        is_open = True
        while True:
            message = self._child.events.get()
            if isinstance(message, More):  # only then: the child knows how much it may hold
                is_open = self._hand_out(source, left)
            elif isinstance(message, Finished):
                self._n_crashed = 0
                error = message.failure.error() if message.failure else None
                yield Result(left.pop(message.number), message.answer, error)
            elif isinstance(message, End):
                return False
            else:
                self._bury(message)
                return is_open

    def _hand_out(self, source: Iterator[Question], left: dict[int, Question]) -> bool:
        """Send the next question; False if there is none."""
        assert self._child is not None
        question = next(source, None)
        if question is None:
            self._child.send(End())
            return False
        number = len(left) and max(left) + 1
        left[number] = question
        self._child.send(replace(question, tag=number))
        return True

    def _bury(self, message: _Gone | Failure) -> None:
        assert self._child is not None
        self._reason = message.text if isinstance(message, Failure) else message.reason
        self._child.kill()
        self._child = None

    def close(self) -> None:
        """End the child. Safe to call twice."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """The process, and a thread that reads what it says: it never waits for us with a full pipe."""

    def __init__(self, begin: Begin, debug: bool) -> None:
        self.events: SimpleQueue[Any] = SimpleQueue()
        self._noise: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ggufvlm.batch.run.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else self._noise,
        )
        self.pid = self._process.pid
        threading.Thread(target=self._listen, name="ggufvlm-child", daemon=True).start()
        self.send(begin)

    def send(self, message: object) -> None:
        """Tell the child something; if it has ended, its last event says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            write_message(self._process.stdin, message)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                self.events.put(read_message(self._process.stdout))
        self.events.put(_Gone(self._how_it_ended()))

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        said = self._last_words()
        return f"{how} ({said})" if said else how

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._noise.seek(0)
            lines = self._noise.read()[-20_000:].decode("utf-8", "replace").splitlines()
            failed = [line for line in lines if "GGML_ASSERT" in line or "rror" in line]
            return failed[-1].strip()[:200] if failed else ""
        return ""

    def kill(self) -> None:
        """End it on the spot."""
        self._process.kill()
        self._process.wait()
        self._drop()

    def close(self) -> None:
        """Let it end, and make it if it does not."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()  # the child ends at once when nobody is left to ask
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drop()

    def _drop(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()
        self._noise.close()
