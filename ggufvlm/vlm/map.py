"""Many questions, answered as many at a time as the engine has slots; images are read ahead in threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ggufvlm.config import SamplingSettings
from ggufvlm.engine.task import Output
from ggufvlm.errors import GGUFVLMError, UsageError
from ggufvlm.media import Image
from ggufvlm.media.loading import read
from ggufvlm.vlm.answer import Answer
from ggufvlm.vlm.documents import Attachments, Measurer
from ggufvlm.vlm.request import Images, as_list
from ggufvlm.vlm.request import question as dialogue_of
from ggufvlm.workers.prefetch import Budget, Prefetch, Prefetched, Reserve

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ggufvlm.engine.request import Request
    from ggufvlm.engine.thread import Outputs
    from ggufvlm.families import Message
    from ggufvlm.vlm.answer import PendingAnswer
    from ggufvlm.vlm.request import Messages

    Read: TypeAlias = "Prefetched[Question, list[Message]]"

_MAX_BYTES = 512 << 20  # of the decoded images of all questions that are in flight
_MAX_BYTES_OF_DOCUMENTS = 256 << 20  # of the pages or frames of one question


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One prompt about some images.

    Attributes:
        prompt: the question.
        images: what :meth:`VLM.describe <ggufvlm.VLM.describe>` takes: one, or a list; or a
            :class:`~ggufvlm.vlm.documents.Attachments`, of which as much is taken as fits.
        system: a system message.
        prefill: the answer starts with this text.
        settings: fields of :class:`~ggufvlm.SamplingParams`.
        tag: anything of the caller's, to know the answer by.
    """

    prompt: str
    images: Images | Attachments = ()
    system: str | None = None
    prefill: str = ""
    settings: SamplingSettings = field(default_factory=lambda: SamplingSettings())
    tag: Any = None


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """A question with its answer, or with the reason why there is none."""

    question: Question
    answer: Answer | None = None
    error: GGUFVLMError | None = None


@dataclass(frozen=True, slots=True)
class _Answering:
    """A question that the engine has."""

    read: Read
    pending: PendingAnswer


class Answerer(Measurer, Protocol):
    """Who answers: :class:`~ggufvlm.VLM`."""

    def build_request(
        self, messages: Messages, *, prefill: str = "", **settings: Unpack[SamplingSettings]
    ) -> Request: ...

    def submit(self, request: Request, outputs: Outputs) -> PendingAnswer: ...


class Mapping:
    """The questions that are being read and answered.

    Args:
        vlm: answers them.
        questions: taken one by one, only when there is room.
        n_ahead: questions that are in flight at a time: being read, waiting, or being answered.
    """

    def __init__(self, vlm: Answerer, questions: Iterable[Question], n_ahead: int) -> None:
        self._vlm = vlm
        self._events: SimpleQueue[Read | Output | BaseException] = SimpleQueue()
        self._answering: dict[int, _Answering] = {}
        self._prefetch: Prefetch[Question, list[Message]] = Prefetch(
            questions,
            self._read,
            budget=Budget(_MAX_BYTES),
            max_items=n_ahead,
            size=_bytes_in_memory,
            on_done=self._events.put,
        )

    def results(self) -> Iterator[QuestionResult]:
        """Results in the order in which they are finished. Ending early aborts what is being answered."""
        try:
            self._prefetch.fill()
            while self._prefetch.n_held:
                result = self._take(self._events.get())
                self._prefetch.fill()
                if result is not None:
                    yield result
        finally:
            self._prefetch.close()
            for left in self._answering.values():
                left.pending.abort()

    def _read(self, question: Question, reserve: Reserve) -> list[Message]:
        if not isinstance(question, Question):
            raise UsageError(f"a Question is wanted, not {type(question).__name__}")
        images = question.images
        if isinstance(images, Attachments):
            reserve(min(images.n_bytes, _MAX_BYTES_OF_DOCUMENTS))
            prompt, system, prefill = question.prompt, question.system, question.prefill
            return images.fit(self._vlm, prompt, system, prefill, max_bytes=_MAX_BYTES_OF_DOCUMENTS)[0]
        encoded = [read(image) for image in as_list(images)]
        if not _bytes_in_memory(question):
            reserve(sum(image.n_bytes for image in encoded))
        return dialogue_of([image.decode() for image in encoded], question.prompt, question.system)

    def _take(self, event: Read | Output | BaseException) -> QuestionResult | None:
        if isinstance(event, BaseException):
            raise event
        return self._ask(event) if isinstance(event, Prefetched) else self._hear(event)

    def _ask(self, read: Read) -> QuestionResult | None:
        question = read.item
        try:
            request = self._vlm.build_request(read.result(), prefill=question.prefill, **question.settings)
            pending = self._vlm.submit(request, self._events)
        except GGUFVLMError as error:
            self._prefetch.release(read)
            return QuestionResult(question, error=error)
        except Exception as error:  # noqa: BLE001 - whatever was passed, it is the error of this question alone
            self._prefetch.release(read)
            return QuestionResult(question, error=UsageError(f"{type(error).__name__}: {error}"))
        self._answering[pending.ticket.sequence.id] = _Answering(read, pending)
        return None

    def _hear(self, output: Output) -> QuestionResult | None:
        if not output.is_last:
            return None
        answering = self._answering.pop(output.sequence.id)
        self._prefetch.release(answering.read)
        question = answering.read.item
        if output.error is not None:
            return QuestionResult(question, error=output.error)
        return QuestionResult(question, answering.pending.finish())


def _bytes_in_memory(question: Question) -> int:
    """The memory of its images if all of them are decoded already; else 0."""
    if not isinstance(question, Question) or isinstance(question.images, Attachments):
        return 0
    images = as_list(question.images)
    decoded = [image for image in images if isinstance(image, Image)]
    return sum(len(image.rgb) for image in decoded) if len(decoded) == len(images) else 0
