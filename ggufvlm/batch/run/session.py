"""From settings to finished files: journal, engine, run, and what is made of the rows at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from ggufvlm.batch.inputs.arguments import Inputs
from ggufvlm.batch.journal.durable_write import RESTART, as_output_error
from ggufvlm.batch.journal.identity import Identity, identify
from ggufvlm.batch.journal.journal import Journal
from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.embed import Embedder, EmbedStyle
from ggufvlm.batch.outputs.sidecar import Sidecars, SidecarStyle
from ggufvlm.batch.outputs.writers import find_writer, journal_path
from ggufvlm.batch.run.isolate import IsolatedEngine
from ggufvlm.batch.run.run import Ask, BatchRun, Progress, Receiver, RowTask
from ggufvlm.cache.written import not_ours, remember
from ggufvlm.config import EngineConfig, SamplingParams
from ggufvlm.errors import UsageError
from ggufvlm.files import check_output
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.examples import Example
from ggufvlm.vlm.map import Question, QuestionResult

_MOST_BACKUPS = 1000
ISOLATE_ABOVE = 100
"""Inputs from which on the engine gets a process of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSettings:
    """Where rows go.

    Attributes:
        path: ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``.
        ordered: rows in the order of the inputs when the run has ended; until then as they are finished.
        restart: begin anew; the old file is kept as ``.bak``.
        sync_every: seconds after which rows are on the disk.
        embed: puts answers into the image files.
        html: a gallery page to make as well.
        csv_safe: an apostrophe before texts of CSV and TSV that a spreadsheet would compute.
        columns: of CSV, TSV and Parquet, in their order; all of them if none is named.
    """

    path: Path
    ordered: bool = False
    restart: bool = False
    sync_every: float = 5.0
    sidecar: SidecarStyle | None = None
    embed: EmbedStyle | None = None
    html: Path | None = None
    csv_safe: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """Which model answers, and how it runs.

    Attributes:
        config: with the number of slots.
        examples: come before each question.
        isolate: in a process of its own; ``None`` for more than 100 inputs.
    """

    files: ModelFiles
    config: EngineConfig
    sampling: SamplingParams
    raw: bool = False
    examples: tuple[Example, ...] = ()
    isolate: bool | None = None
    debug: bool = False

    def starts_process(self, count: int | None) -> bool:
        """Whether so many inputs get a process of their own."""
        return (count is None or count > ISOLATE_ABOVE) if self.isolate is None else self.isolate


class Session:
    """A run with its files open. Close it, or use ``with``: rows that are written stay, whatever happens.

    Args:
        inputs: what is asked about.
        task: what is asked.
        engine: what answers.
        output: where rows go.

    Attributes:
        note: what became of an earlier output, in a line.
        written: the files that were made, but for those of single images.

    Raises:
        UsageError, OutputError: the output cannot be used.
        ModelError: the model's files are damaged.
    """

    def __init__(self, inputs: Inputs, task: RowTask, engine: EngineSettings, output: OutputSettings) -> None:
        self._writer = find_writer(output.path, csv_safe=output.csv_safe, columns=output.columns)
        self._inputs, self._engine, self._output = inputs, engine, output
        self.note: str | None = None
        self.written: list[Path] = []
        self.identity: Identity = identify(
            engine.files, engine.config, engine.sampling, prefill=task.prefill, raw=engine.raw, examples=engine.examples
        )
        self._check_outputs()
        self._check_old_output()
        self.journal = Journal(journal_path(output.path), restart=output.restart, sync_every=output.sync_every)
        self._set_output_aside()  # only now: before the lock it may be another run's
        self.sidecars = Sidecars(output.sidecar, self.journal, inputs.files) if output.sidecar else None
        self.embedder = Embedder(output.embed, self._answered) if output.embed else None
        receivers: list[Receiver] = [receiver for receiver in (self.sidecars, self.embedder) if receiver is not None]
        self._run = BatchRun(task, self.identity, self.journal, total=inputs.count, receivers=receivers)

        skips = output.sidecar is not None and output.sidecar.existing == "skip"
        if self.sidecars is not None and skips and output.embed is None:
            self._run.is_unwanted = self.sidecars.has_one

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._run.progress

    @property
    def n_failed(self) -> int:
        """Inputs that are errors, and answers that could not be put where they were wanted."""
        return self.progress.errors + sum(each.n_failed for each in (self.sidecars, self.embedder) if each is not None)

    def _answered(self, item_id: str) -> Row | None:
        place = self.journal.index.place_of_id(item_id)
        return None if place is None else self.journal.read(place)

    def run(
        self,
        on_progress: Callable[[Progress], None],
        load: Callable[[ExitStack], Ask],
        on_row: Receiver | None = None,
        on_problem: Callable[[str], None] = lambda _text: None,
        on_replaced: Callable[[str, str], None] | None = None,
    ) -> None:
        """Answer everything, then put the files in order; that too when the run is ended early.

        Args:
            on_progress: told after each input.
            on_row: told of each row.
            on_problem: told, in a line, of answers that could not be put beside or into their image.
            load: makes the engine when the first question is there, closed with the stack.
            on_replaced: as :attr:`BatchRun.on_replaced <ggufvlm.batch.run.run.BatchRun>`.

        Raises:
            OutputError: a row could not be written.
            ModelError, EngineError: the model cannot be loaded or run.
        """
        self._run.on_progress, self._run.on_replaced = on_progress, on_replaced
        for each in (self.sidecars, self.embedder):
            if each is not None:
                each.on_problem = on_problem
        if on_row is not None:
            self._run.receivers.append(on_row)
        try:
            with ExitStack() as stack:
                self._run.go(self._inputs, _when_needed(lambda: load(stack)))
        except BaseException:
            self._finish(gallery=False)  # nobody who presses Ctrl-C waits for a thousand thumbnails
            raise
        self._finish(gallery=True)

    def _finish(self, *, gallery: bool) -> None:
        """Make the output of what is there."""
        journal, ids = self.journal, self._run.ids
        renamed = journal.index.renamed(ids) if self._run.has_read_all else ()
        journal.put_in_order(ids if self._output.ordered else None, renamed)
        journal.sync()
        if self._writer is not None:
            path = Path(os.path.realpath(self._output.path))
            self._writer(path, journal.rows())
            remember(path)
        self.written = list(dict.fromkeys([self._output.path, journal_path(self._output.path)]))
        if self._output.html is not None and gallery:
            from ggufvlm.batch.outputs.gallery import write_gallery

            write_gallery(self._output.html, journal.rows(), title=self._output.path.stem)
            self.written.append(self._output.html)
        journal.sync()  # a gallery takes its time

    def _check_outputs(self) -> None:
        """Refuse to write over a table that is read while the run goes on, and over a page that is no gallery."""
        check_output(self._output.path, self._inputs.tables)
        check_output(journal_path(self._output.path), self._inputs.tables)
        if self._output.html is not None:
            others = (self._output.path, journal_path(self._output.path))
            check_output(self._output.html, [*self._inputs.tables, *others], is_replaced=True)
            from ggufvlm.batch.outputs.gallery import check_page

            check_page(self._output.html)

    def _check_old_output(self) -> None:
        path, journal = self._output.path, journal_path(self._output.path)
        if journal != path and not self._output.restart and path.exists() and not journal.exists():
            raise UsageError(f"{path.name}: is there, but {journal.name} is not: cannot go on with it", hint=RESTART)

    def _set_output_aside(self) -> None:
        """Keep a table that is to be made anew, and one that somebody has changed since it was made."""
        path = Path(os.path.realpath(self._output.path))
        if self._writer is None or not (path.is_file() if self._output.restart else not_ours([path])):
            return
        kept = path.with_name(f"{path.name}.bak")
        if not self._output.restart:
            backups = (path.with_name(f"{kept.name}{number or ''}") for number in (0, *range(2, _MOST_BACKUPS)))
            kept = next((backup for backup in backups if not os.path.lexists(backup)), kept)
            self.note = f"{path.name} was changed since it was made: kept as {kept.name}"
        with as_output_error(path.name):
            path.replace(kept)

    def close(self) -> None:
        """Close the files."""
        self.journal.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _when_needed(load: Callable[[], Ask]) -> Ask:
    """The engine, loaded for the first question: where all is known, none is needed."""
    loaded: list[Ask] = []

    def ask(questions: Iterable[Question]) -> Generator[QuestionResult, None, None]:
        source = iter(questions)
        first = next(source, None)
        if first is None:
            return
        if not loaded:
            loaded.append(load())
        with closing(loaded[0](chain([first], source))) as results:
            yield from results

    return ask


def load_engine(
    engine: EngineSettings,
    count: int | None,
    stack: ExitStack,
    on_warning: Callable[[str], None] = lambda _text: None,
) -> Ask:
    """Load the engine, in this process or in one of its own.

    Args:
        engine: which model, and how it runs.
        count: of the inputs, ``None`` if it is not known; many get a process of their own.
        stack: closes the engine with everything else.
        on_warning: told what is to be known of the model, in lines.

    Returns:
        The function that answers questions.

    Raises:
        ModelError, EngineError: it cannot be loaded.
    """
    config = replace(engine.config, priority="throughput")
    if engine.starts_process(count):
        isolated = stack.enter_context(
            IsolatedEngine(engine.files, config, raw=engine.raw, debug=engine.debug, examples=engine.examples)
        )
        isolated.start()
        for text in isolated.warnings:
            on_warning(text)
        return isolated.map
    from ggufvlm.vlm.vlm import VLM

    vlm = stack.enter_context(VLM(engine.files, config, raw=engine.raw))
    vlm.examples = engine.examples
    vlm.wait_until_loaded()
    for text in vlm.handler.warnings:
        on_warning(text)

    def ask(questions: Iterable[Question]) -> Generator[QuestionResult, None, None]:
        yield from vlm.map(questions, n_ahead=config.n_slots + 2)

    return ask
