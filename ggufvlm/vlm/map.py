"""Many questions, answered as many at a time as the engine has slots; images are read ahead in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from ggufvlm.config import SamplingSettings
from ggufvlm.engine.task import Output
from ggufvlm.errors import GGUFVLMError
from ggufvlm.media import Image, load
from ggufvlm.vlm.answer import Answer
from ggufvlm.vlm.documents import Material, Measurer
from ggufvlm.vlm.request import question as dialogue_of

if TYPE_CHECKING:
    from ggufvlm.engine.thread import Outputs, Ticket
    from ggufvlm.families import Message

_READERS = 2
_BYTES_IN_HAND = 512 << 20  # of decoded images; one question is taken whatever its size
_BYTES_OF_DOCUMENTS = 256 << 20  # of the pages or frames of one question


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One prompt about some images.

    Attributes:
        prompt: the question.
        images: what :meth:`VLM.describe <ggufvlm.VLM.describe>` takes: one, or a list; or a
            :class:`~ggufvlm.vlm.documents.Material`, of which as much is taken as fits.
        system: a system message.
        prefill: the answer starts with this text.
        settings: fields of :class:`~ggufvlm.SamplingParams`.
        tag: anything of the caller's, to know the answer by.
    """

    prompt: str
    images: Any = ()
    system: str | None = None
    prefill: str = ""
    settings: SamplingSettings = field(default_factory=lambda: SamplingSettings())
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Result:
    """A question with its answer, or with the reason why there is none."""

    question: Question
    answer: Answer | None = None
    error: GGUFVLMError | None = None


@dataclass(slots=True)
class _Answering:
    question: Question
    ticket: Ticket
    finish: Callable[[str], Answer]
    said: list[str]
    n_bytes: int


class Answerer(Measurer, Protocol):
    """Who answers: :class:`~ggufvlm.VLM`."""

    def begin(
        self, dialogue: list[Message], prefill: str, settings: SamplingSettings, outputs: Outputs
    ) -> tuple[Ticket, Callable[[str], Answer]]: ...


class Mapping:
    """The questions that are being read and answered.

    Args:
        vlm: answers them.
        questions: taken one by one, only when there is room.
        n_ahead: questions that are in hand at a time.
    """

    def __init__(self, vlm: Answerer, questions: Iterable[Question], n_ahead: int) -> None:
        self._vlm = vlm
        self._questions = iter(questions)
        self._n_ahead = n_ahead
        self._events: SimpleQueue[Future[list[Message]] | Output | BaseException] = SimpleQueue()
        self._reading: dict[Future[list[Message]], Question] = {}
        self._n_bytes = 0  # of the images of questions that are in hand
        self._answering: dict[int, _Answering] = {}
        self._pool = ThreadPoolExecutor(_READERS, "ggufvlm-images")

    def results(self) -> Iterator[Result]:
        """Results in the order in which they are finished. Ending early aborts what is being answered."""
        try:
            self._read_ahead()
            while self._reading or self._answering:
                result = self._take(self._events.get())
                self._read_ahead()
                if result is not None:
                    yield result
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for left in self._answering.values():
                left.ticket.abort()

    def _read_ahead(self) -> None:
        while self._has_room():
            question = next(self._questions, None)
            if question is None:
                self._n_ahead = 0
                return
            future = self._pool.submit(self._read, question)
            self._reading[future] = question
            self._n_bytes += n_bytes_of(question)
            future.add_done_callback(self._events.put)

    def _has_room(self) -> bool:
        """Whether another question may be taken: few are in hand, and their images are not too large together."""
        n_in_hand = len(self._reading) + len(self._answering)
        if self._n_bytes >= _BYTES_IN_HAND and n_in_hand:
            return False
        return n_in_hand < self._n_ahead and len(self._reading) < 2 * _READERS

    def _read(self, question: Question) -> list[Message]:
        images = question.images
        if isinstance(images, Material):
            prompt, system, prefill = question.prompt, question.system, question.prefill
            return images.fit(self._vlm, prompt, system, prefill, max_bytes=_BYTES_OF_DOCUMENTS)[0]
        images = images if isinstance(images, (list, tuple)) else [images]
        return dialogue_of([load(image) for image in images], question.prompt, question.system)

    def _take(self, event: Future[list[Message]] | Output | BaseException) -> Result | None:
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Future):
            return self._ask(self._reading.pop(event), event)
        return self._hear(event)

    def _ask(self, question: Question, read: Future[list[Message]]) -> Result | None:
        self._n_bytes -= n_bytes_of(question)
        try:
            messages = read.result()
            ticket, finish = self._vlm.begin(messages, question.prefill, question.settings, self._events)
        except GGUFVLMError as error:
            return Result(question, error=error)
        n_bytes = sum(len(image.rgb) for message in messages for image in message.images)
        self._n_bytes += n_bytes
        said = [question.prefill] if question.prefill else []
        self._answering[ticket.sequence.id] = _Answering(question, ticket, finish, said, n_bytes)
        return None

    def _hear(self, output: Output) -> Result | None:
        answering = self._answering[output.sequence.id]
        answering.said.append(output.text)
        if not output.is_last:
            return None
        del self._answering[output.sequence.id]
        self._n_bytes -= answering.n_bytes
        if output.error is not None:
            return Result(answering.question, error=output.error)
        return Result(answering.question, answering.finish("".join(answering.said)))


def n_bytes_of(question: Question) -> int:
    """What its images take in memory, as far as they are decoded, or as much as is taken of documents."""
    images = question.images
    if isinstance(images, (list, tuple)):
        return sum(len(image.rgb) for image in images if isinstance(image, Image))
    if isinstance(images, Image):
        return len(images.rgb)
    return min(getattr(images, "n_bytes", 0), _BYTES_OF_DOCUMENTS)
