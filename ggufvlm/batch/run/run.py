"""The run itself: what is known is taken over, what is new is asked, each input becomes one row."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.inputs.templates import Template
from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.identity import Identity
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import Asked, Row, answered, changed, failed, same_answer
from ggufvlm.batch.run.prefetch import Looked, Looker, look_ahead
from ggufvlm.config import SamplingSettings
from ggufvlm.errors import EngineError
from ggufvlm.vlm.answer import Answer
from ggufvlm.vlm.map import Question, QuestionResult

LADDER: tuple[SamplingSettings, ...] = ({"temperature": 0.2}, {"temperature": 0.6, "repeat_penalty": 1.1})
"""The settings that are tried in turn when an answer is a repetition loop."""

Ask: TypeAlias = Callable[[Iterable[Question]], Generator[QuestionResult, None, None]]
"""A function that answers questions as :meth:`VLM.map <ggufvlm.VLM.map>` does."""

Receiver: TypeAlias = Callable[[Item, "Row | None"], None]
"""Gets each row after it is written, ``None`` for one that was there already: sidecars, progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowTask:
    """What is asked of every input.

    Attributes:
        template, system: the prompt and the system message; a row's own come first.
        prefill: every answer starts with this.
        n_retries: how far up the ladder an answer goes that is a repetition loop.
        max_errors: end the run after so many rows with errors.
        window: inputs that are read ahead of the engine.
        keeps_reasoning: rows have what the model thought, too.
    """

    template: Template
    system: str | None = None
    prefill: str = ""
    n_retries: int = len(LADDER)
    max_errors: int | None = None
    window: int = 6
    keeps_reasoning: bool = False


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: inputs; ``None`` if only their end will tell.
        kept: rows that were there already.
        copied: rows whose answer was known from another input.
        answered: rows that the model made.
        skipped: inputs that are not to be asked: what is wanted of them is there.
        errors: rows without an answer, or with one that is a repetition loop.
        cut: of the rows that were made, those whose answer ended by its length.
        cut_by_context: of these, those for which the context was too small.
        began: ``time.monotonic()`` when the run began to look.
        n_generated: tokens the model made.
        stopped: whether there were too many errors.
    """

    total: int | None
    kept: int = 0
    copied: int = 0
    answered: int = 0
    skipped: int = 0
    errors: int = 0
    cut: int = 0
    cut_by_context: int = 0
    n_generated: int = 0
    began: float = field(default_factory=time.monotonic)
    stopped: bool = False

    @property
    def done(self) -> int:
        """Inputs that have their row, or need none."""
        return self.kept + self.copied + self.answered + self.skipped + self.errors


class _TooManyErrors(Exception):  # noqa: N818 - ends the loop from inside a generator
    pass


@dataclass(slots=True)
class _Open:
    """A question that is being answered, and the inputs that wait for it."""

    looked: Looked
    asked: Asked
    waiting: list[Looked] = field(default_factory=list)
    retries: int = 0


class BatchRun:
    """One run over inputs.

    Args:
        task: what is asked.
        identity: of the model and the settings.
        journal: gets the rows, and knows those of earlier runs.
        total: how many inputs there are, if that is known.
        receivers: are told of each row.

    Attributes:
        progress: how far it is.
        ids: of the inputs, as far as they were read.
        has_read_all: whether that is all of them.
        is_unwanted: tells inputs that are not to be asked.
        on_replaced: told, before the first answer is replaced by that to another question about the same image, what
            has changed and of which row. It may raise.
    """

    def __init__(
        self,
        task: RowTask,
        identity: Identity,
        journal: Journal,
        *,
        total: int | None,
        receivers: Iterable[Receiver] = (),
    ) -> None:
        self.progress = Progress(total)
        self.ids: list[str] = []
        self.has_read_all = False
        self.on_progress: Callable[[Progress], None] = lambda _progress: None
        self.is_unwanted: Callable[[Item], bool] = lambda _item: False
        self.on_replaced: Callable[[str, str], None] | None = None
        self._task = task
        self._identity = identity
        self._journal = journal
        self.receivers = list(receivers)
        self._looker = Looker(template=task.template, system=task.system, identity=identity, journal=journal)
        self._open: dict[str, _Open] = {}
        self._again: deque[Question] = deque()
        self._cut_by_context: set[str] = set()

    def go(self, items: Iterable[Item], ask: Ask) -> None:
        """Give every input its row.

        Raises:
            OutputError: a row could not be written.
            EngineError: the engine itself failed. All rows made until then are written.
        """
        looks = look_ahead(self._noted(items), self._looker.look, self._task.window)
        questions: Generator[Question, None, None] = self._questions(looks)
        try:
            while True:
                with closing(ask(questions)) as results:
                    for result in results:
                        self._take(result)
                if not self._again:
                    return
                questions = self._retries()  # what came back after the last input was read: another round
        except _TooManyErrors:
            self.progress.stopped = True
        finally:
            looks.close()

    def _noted(self, items: Iterable[Item]) -> Generator[Item, None, None]:
        for item in items:
            self.ids.append(item.id)
            if isinstance(items, Inputs):
                self.progress.total = items.count  # a PDF turns out to have many pages
            if self.is_unwanted(item):
                self.progress.skipped += 1
                self.on_progress(self.progress)
                if item.part is not None:
                    item.part.strip.leave()
            else:
                yield item
        self.has_read_all = True

    # -- what to ask

    def _questions(self, looks: Iterable[Looked]) -> Generator[Question, None, None]:
        for looked in looks:
            question = self._consider(looked)
            if question is not None:
                yield question
            yield from self._retries()

    def _retries(self) -> Generator[Question, None, None]:
        while self._again:
            yield self._again.popleft()

    def _consider(self, looked: Looked) -> Question | None:
        item, asked = looked.item, looked.asked
        if asked is None:
            assert looked.error is not None
            self._write(item, failed(item, looked.error, self._identity))
            return None
        known = self._journal.index.done(item.id, asked.key)
        if known is not None and known.path == item.path:
            if known.is_error:
                self.progress.errors += 1
            else:
                self.progress.kept += 1
            self._tell(item, None)
            return None
        self._announce_replaced(item, asked)
        place = self._journal.index.place_of_key(asked.key)
        if place is not None:
            self._copy(looked, self._journal.read(place))
            return None
        if asked.key in self._open:
            self._open[asked.key].waiting.append(looked.without_images())
            return None
        self._open[asked.key] = _Open(looked.without_images(), asked)
        return self._question(looked, asked)

    def _announce_replaced(self, item: Item, asked: Asked) -> None:
        place = self._journal.index.place_of_id(item.id)
        if self.on_replaced is None or place is None:
            return
        row = self._journal.read(place)
        change = changed(row, asked, self._identity)
        if change is not None:
            tell, self.on_replaced = self.on_replaced, None
            tell(change, item.id)

    def _question(self, looked: Looked, asked: Asked) -> Question:
        return Question(
            images=looked.attachments or list(looked.images),
            prompt=asked.prompt,
            system=asked.system,
            prefill=self._task.prefill,
            settings=self._settings(asked.key),
            tag=asked.key,
        )

    def _settings(self, key: str) -> SamplingSettings:
        sampling = self._identity.sampling
        own = {name: getattr(sampling, name) for name in SamplingSettings.__annotations__}
        return {**own, "seed": self._identity.seed(key)}  # type: ignore[typeddict-item]

    # -- what came back

    def _take(self, result: QuestionResult) -> None:
        key: str = result.question.tag
        opened = self._open[key]
        answer = result.answer
        if answer is None:
            assert result.error is not None
            self._close(key, failed(opened.looked.item, result.error, self._identity, opened.asked))
        elif answer.finish_reason == "repetition" and opened.retries < min(self._task.n_retries, len(LADDER)):
            settings: SamplingSettings = {**self._settings(key), **LADDER[opened.retries]}
            opened.retries += 1
            self._again.append(replace(result.question, settings=settings))
        else:
            self.progress.n_generated += answer.usage.n_generated
            if answer.stop_reason == "context":
                self._cut_by_context.add(key)
            self._close(key, self._row(opened, answer))

    def _row(self, opened: _Open, answer: Answer) -> Row:
        """The row of an answer; one that does not fit its constraint is an error."""
        constraint = self._identity.sampling.constraint
        if constraint is not None:
            try:
                answer = answer.fitted(constraint)
            except EngineError as error:
                return failed(opened.looked.item, error, self._identity, opened.asked)
        row = answered(opened.looked.item, opened.asked, answer, self._identity, opened.retries)
        return row | {"reasoning": answer.reasoning}

    def _close(self, key: str, row: Row) -> None:
        opened = self._open.pop(key)
        self._write(opened.looked.item, row)
        for looked in opened.waiting:
            self._copy(looked, row)

    def _copy(self, looked: Looked, row: Row) -> None:
        assert looked.asked is not None
        self._write(looked.item, same_answer(looked.item, row, looked.asked.file_ids), copied=True)

    def _write(self, item: Item, row: Row, *, copied: bool = False) -> None:
        if self._task.keeps_reasoning:
            row.setdefault("reasoning", None)
        else:
            row.pop("reasoning", None)
        self._journal.append(row)
        if row["error"] is not None:
            self.progress.errors += 1
        elif copied:
            self.progress.copied += 1
        else:
            self.progress.answered += 1
        self.progress.cut += row["finish_reason"] == "length"
        self.progress.cut_by_context += row["key"] in self._cut_by_context
        self._tell(item, row)
        limit = self._task.max_errors
        if limit is not None and self.progress.errors >= limit:
            raise _TooManyErrors

    def _tell(self, item: Item, row: Row | None) -> None:
        for receive in self.receivers:
            receive(item, row)
        self.on_progress(self.progress)
