"""An engine in a process of its own: when llama.cpp takes its process down, the run goes on.

Images that were being answered when the process ended are asked again one by one; the one that ends it again is
marked and passed over.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ggufvlm.batch.run.messages import Begin, End, Finished, More, Ready
from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.examples import Example
from ggufvlm.vlm.map import Question, QuestionResult
from ggufvlm.workers.framing import Failure
from ggufvlm.workers.worker import Worker

if TYPE_CHECKING:
    from typing_extensions import Self

_HOPELESS = 4
"""Images in a row that end the process, none answered between: then it is not the images."""


class EngineCrash(EngineError):  # noqa: N818 - reads as what happened
    """An image ended the engine's process twice."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """The last event of a worker: how it ended."""

    reason: str


class IsolatedEngine:
    """Answers questions as :meth:`VLM.map <ggufvlm.VLM.map>` does, in a child process that is replaced when it ends.

    Args:
        files: the model and its projector.
        config: of the engine.
        raw: give prompts to the model without its chat template.
        debug: let the child's own messages through.
        examples: come before each question.

    Attributes:
        n_restarts: how often the child was replaced.
        warnings: what is to be known of the model once it is loaded, a line each.
    """

    def __init__(
        self,
        files: ModelFiles,
        config: EngineConfig,
        *,
        raw: bool = False,
        debug: bool = False,
        examples: tuple[Example, ...] = (),
    ) -> None:
        self._begin = Begin(files=files, config=config, raw=raw, debug=debug, examples=examples)
        self._debug = debug
        self._worker: Worker | None = None
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._n_crashed = 0
        self._reason = ""
        self.n_restarts = 0
        self.warnings: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._worker.pid if self._worker else None

    def start(self) -> None:
        """Load the model.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        events: SimpleQueue[Any] = SimpleQueue()  # a new one: what the last worker said is of no interest
        self._events = events
        self._worker = Worker(
            "ggufvlm.batch.run.child",
            on_message=events.put,
            on_end=lambda reason: events.put(_Gone(reason)),
            show_stderr=self._debug,
        )
        self._worker.send(self._begin)
        message = events.get()
        if isinstance(message, Ready):
            self.warnings = message.warnings
            return
        self._forget_worker()
        if isinstance(message, Failure):
            raise message.error()
        raise EngineError(f"the engine's process ended while it loaded the model: {message.reason}")

    def map(self, questions: Iterable[Question]) -> Generator[QuestionResult, None, None]:
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
                    yield QuestionResult(
                        killer, error=EngineCrash(f"it ended the engine's process twice: {self._reason}")
                    )
                    if self._n_crashed >= _HOPELESS:
                        raise EngineError(
                            f"the engine's process ends on every image: {self._reason}",
                            hint="ggufvlm doctor; --no-isolate --debug shows more",
                        )

    def _round(self, source: Iterator[Question], left: dict[int, Question]) -> Generator[QuestionResult, None, bool]:
        """Ask until the questions or the process end; returns whether there may be more questions.

        What was in flight when the process ended is put into ``left``.
        """
        if self._worker is None:
            self.n_restarts += 1
            self.start()
        is_open = True
        while True:
            message = self._events.get()
            if isinstance(message, More):  # only then: the child knows how much it may hold
                is_open = self._hand_out(source, left)
            elif isinstance(message, Finished):
                self._n_crashed = 0
                error = message.failure.error() if message.failure else None
                yield QuestionResult(left.pop(message.number), message.answer, error)
            elif isinstance(message, End):
                return False
            else:
                self._bury(message)
                return is_open

    def _hand_out(self, source: Iterator[Question], left: dict[int, Question]) -> bool:
        """Send the next question; False if there is none."""
        assert self._worker is not None
        question = next(source, None)
        if question is None:
            self._worker.send(End())
            return False
        number = len(left) and max(left) + 1
        left[number] = question
        self._worker.send(replace(question, tag=number))
        return True

    def _bury(self, message: _Gone | Failure) -> None:
        self._reason = message.text if isinstance(message, Failure) else message.reason
        self._forget_worker()

    def _forget_worker(self) -> None:
        assert self._worker is not None
        self._worker.kill()
        self._worker = None

    def close(self) -> None:
        """End the child. Safe to call twice."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
