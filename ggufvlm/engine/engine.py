"""Requests in, text out: admits sequences, runs one step at a time, turns tokens into text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from ggufvlm.config import EngineConfig
from ggufvlm.engine.detokenizer import Detokenizer
from ggufvlm.engine.prefix_cache import PrefixCache
from ggufvlm.engine.repetition import RepetitionGuard
from ggufvlm.engine.request import Request
from ggufvlm.engine.runner import Prompt, Runner
from ggufvlm.engine.scheduler import MediaStep, Scheduler, TokenStep
from ggufvlm.engine.sequence import FinishReason, Sequence, Status, TextSegment, count_cells, count_positions
from ggufvlm.errors import ContextOverflow, EngineError
from ggufvlm.llama.context import DecodeAborted
from ggufvlm.llama.projector import EncodeAborted

if TYPE_CHECKING:
    from ggufvlm.llama.sampler import Sampler

ROOM_FOR_ANSWER = 512
"""Cells reserved beyond the prompt at first; the context grows when an answer needs more."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a step gave one sequence: some text (maybe none), and whether that was the end.

    ``is_last`` is not read off the sequence: by the time another thread looks at it, a later step may have ended it.
    ``error`` is set when the sequence failed.
    """

    sequence: Sequence
    text: str
    is_last: bool = False
    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work before the first word has come: layers of the picture's encoder, or prompt cells."""

    stage: Literal["encode", "prefill"]
    done: int
    total: int | None


@dataclass(slots=True)
class _Task:
    """What belongs to a sequence but is not plain data."""

    request: Request
    prompt: Prompt
    sampler: Sampler
    detokenizer: Detokenizer
    guard: RepetitionGuard | None
    added_at: float


class Engine:
    """One model, one context, one thread. :meth:`abort` may be called from any thread."""

    def __init__(
        self, runner: Runner, config: EngineConfig, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self._runner = runner
        self._config = config
        self._n_slots = 1
        self._scheduler = Scheduler(self._n_slots, config.n_batch)
        self._prefixes = PrefixCache(self._n_slots)
        self._tasks: dict[int, _Task] = {}
        self._next_id = 0
        self.on_progress = on_progress

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle

    @property
    def n_ctx(self) -> int:
        """Cells of the present context, 0 before the first request runs."""
        return self._runner.n_ctx

    @property
    def n_ctx_limit(self) -> int:
        """The most cells a prompt and its answer may take."""
        return self._config.n_ctx or self._runner.model.n_ctx_train

    def add(self, request: Request) -> Sequence:
        """Tokenize a request and queue it.

        Raises:
            ContextOverflow: the prompt is longer than the context; the message counts what each picture takes.
            UsageError: the prompt does not end with text.
        """
        prompt = self._runner.tokenize(request)
        if count_cells(prompt.segments) >= self.n_ctx_limit:
            prompt.close()
            raise _overflow(prompt, self.n_ctx_limit, can_grow=self.n_ctx_limit < self._runner.model.n_ctx_train)
        sampler = self._runner.make_sampler(request.sampling)
        sequence = Sequence(self._next_id, prompt.segments, request.sampling.max_tokens, seed=sampler.seed)
        self._next_id += 1
        self._tasks[sequence.id] = _Task(
            request=request,
            prompt=prompt,
            sampler=sampler,
            detokenizer=Detokenizer(request.sampling.stop, strip_start=request.strip_start),
            guard=RepetitionGuard() if request.sampling.repetition_guard else None,
            added_at=time.perf_counter(),
        )
        self._scheduler.add(sequence)
        return sequence

    def abort(self, sequence: Sequence) -> None:
        """Make a sequence end soon, with what it has said. From any thread."""
        sequence.abort_requested = True
        self._runner.interrupt()

    def step(self) -> list[Output]:
        """Compute one step; returns what it gave to each sequence."""
        self._runner.resume()  # before looking at the requests, so that one that comes meanwhile is not forgotten
        aborted = [s for s in (*self._scheduler.running, *self._scheduler.waiting) if s.abort_requested]
        if aborted:
            return [self._finish(sequence, "abort") for sequence in aborted]
        try:
            self._admit()
        except EngineError as error:
            return [self._fail(sequence, error) for sequence in list(self._scheduler.waiting)]
        plan = self._scheduler.plan()
        if plan is None:
            return []
        involved = [plan.sequence] if isinstance(plan, MediaStep) else [row.sequence for row in plan.rows]
        involved = list(dict.fromkeys(involved))
        try:
            return self._run_media(plan) if isinstance(plan, MediaStep) else self._run_tokens(plan)
        except (DecodeAborted, EncodeAborted) as error:
            # one that was not meant by the interruption goes on, unless its memory could not be cut back
            lost = [sequence for sequence in involved if not self._cut_back(sequence)]
            return [self._fail(sequence, error) for sequence in lost if not sequence.abort_requested]
        except EngineError as error:
            for sequence in involved:
                self._cut_back(sequence)
            return [self._fail(sequence, error) for sequence in involved]

    # -- admission

    def _admit(self) -> None:
        while self._scheduler.waiting and self._scheduler.free_slots:
            sequence = self._scheduler.waiting[0]
            prompt = self._tasks[sequence.id].prompt
            self._ensure_room(sequence.n_prompt + self._room_for_answer(sequence), prompt.n_rows_together)
            slot, prefix = self._prefixes.best_slot(sequence.segments, self._scheduler.free_slots)
            kept = self._prefixes.contents(slot)
            if count_cells(prefix) < count_cells(kept) and not self._runner.cut(slot, count_positions(prefix)):
                prefix = []
            self._prefixes.cut(slot, prefix)
            self._scheduler.admit(sequence, slot)
            sequence.start_after(prefix)

    def _room_for_answer(self, sequence: Sequence) -> int:
        return ROOM_FOR_ANSWER if sequence.max_tokens == -1 else min(sequence.max_tokens, ROOM_FOR_ANSWER)

    def _ensure_room(self, n_cells: int, n_rows_together: int = 0) -> None:
        wanted = self._config.n_ctx or min(-(-n_cells // 256) * 256, self.n_ctx_limit)
        if not self._runner.ensure_context(wanted, n_rows_together):
            for slot in range(self._n_slots):
                self._prefixes.cut(slot, [])

    # -- steps

    def _run_media(self, plan: MediaStep) -> list[Output]:
        sequence, timings = plan.sequence, plan.sequence.timings
        began = time.perf_counter()
        encoding = self._runner.run_picture(
            self._tasks[sequence.id].prompt,
            sequence.cursor,
            slot=sequence.slot,
            start=sequence.n_pos,
            on_layer=lambda n: self._report("encode", n, None),
        )
        if encoding is not None:
            sequence.n_encoded += 1
            timings.encode += encoding
        timings.prefill += time.perf_counter() - began - (encoding or 0.0)
        self._prefixes.append(sequence.slot, plan.segment)
        sequence.advance_picture()
        return []

    def _run_tokens(self, plan: TokenStep) -> list[Output]:
        began = time.perf_counter()
        self._runner.run_tokens(plan.rows)
        seconds_per_row = (time.perf_counter() - began) / len(plan.rows)
        outputs = []
        for sequence, rows in groupby(enumerate(plan.rows), key=lambda item: item[1].sequence):
            indexed = list(rows)
            self._prefixes.append(sequence.slot, [row.token for _, row in indexed])
            if sequence.status is Status.DECODE:
                sequence.n_pos += 1
                sequence.timings.decode += seconds_per_row
            else:
                sequence.advance(len(indexed))
                sequence.timings.prefill += seconds_per_row * len(indexed)
                self._report("prefill", count_cells(self._prefixes.contents(sequence.slot)), sequence.n_prompt)
            index, last = indexed[-1]
            if last.wants_logits:
                outputs.append(self._take_token(sequence, index))
        return outputs

    def _take_token(self, sequence: Sequence, row: int) -> Output:
        task = self._tasks[sequence.id]
        began = time.perf_counter()
        token = self._runner.sample(task.sampler, row)
        if sequence.timings.first_token is None:
            sequence.timings.first_token = time.perf_counter() - task.added_at
            sequence.status = Status.DECODE
        if self._runner.model.vocab.is_end(token):
            return self._finish(sequence, "stop")
        sequence.generated.append(token)
        sequence.next_token = token
        text = task.detokenizer.push(self._runner.model.vocab.piece(token))
        sequence.timings.decode += time.perf_counter() - began
        reason = self._reason_to_end(sequence, task)
        if reason is not None:
            return self._finish(sequence, reason, text)
        return Output(sequence, text)

    def _reason_to_end(self, sequence: Sequence, task: _Task) -> FinishReason | None:
        if task.detokenizer.stopped:
            return "stop"
        if task.guard is not None and task.guard.is_loop(sequence.generated):
            return "repetition"
        if sequence.max_tokens != -1 and len(sequence.generated) >= sequence.max_tokens:
            return "length"
        used = sequence.n_prompt + len(sequence.generated)
        if used >= self.n_ctx_limit:
            return "length"
        if used >= self._runner.n_ctx:
            self._ensure_room(2 * self._runner.n_ctx)
        return None

    # -- ends

    def _finish(self, sequence: Sequence, reason: FinishReason, text: str = "") -> Output:
        task = self._tasks.pop(sequence.id)
        task.sampler.close()
        task.prompt.close()
        sequence.status, sequence.finish_reason = Status.FINISHED, reason
        self._scheduler.remove(sequence)
        return Output(sequence, text + task.detokenizer.finish(), is_last=True)

    def _fail(self, sequence: Sequence, error: EngineError) -> Output:
        output = self._finish(sequence, "error")
        return Output(sequence, output.text, is_last=True, error=error)

    def _cut_back(self, sequence: Sequence) -> bool:
        """Drop what an unfinished step may have left behind the cells that are known to be right.

        False if this kind of memory could only be cleared.
        """
        contents = self._prefixes.contents(sequence.slot)
        if self._runner.cut(sequence.slot, count_positions(contents)):
            return True
        self._prefixes.cut(sequence.slot, [])
        return False

    def _report(self, stage: Literal["encode", "prefill"], done: int, total: int | None) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(stage, done, total))

    def check(self) -> None:
        """Assert, when idle, that the record of each slot agrees with the cells."""
        if not self.is_idle or not self._runner.n_ctx:
            return
        for slot in range(self._n_slots):
            contents = self._prefixes.contents(slot)
            last = self._runner.context.last_position(slot)
            if not contents:
                assert last == -1, f"slot {slot} should be empty"
            elif isinstance(contents[-1], TextSegment):
                assert last == count_positions(contents) - 1, f"slot {slot} ends at {last}"

    def close(self) -> None:
        """End all sequences and free everything."""
        for sequence in (*self._scheduler.running, *self._scheduler.waiting):
            self._finish(sequence, "abort")
        self._runner.close()


def _overflow(prompt: Prompt, limit: int, *, can_grow: bool) -> ContextOverflow:
    takes: Counter[str] = Counter()
    for chunk, part in prompt.pictures.values():
        takes[part.source] += chunk.n_cells
    total = count_cells(prompt.segments)
    parts = [f"{source} takes {n}" for source, n in takes.items()] + [f"the text {total - sum(takes.values())}"]
    ways = []
    if can_grow:
        ways.append(f"--ctx-size {-(-(total + ROOM_FOR_ANSWER) // 256) * 256} makes room")
    if takes:
        share = max(16, (limit - (total - sum(takes.values())) - 64) // len(prompt.pictures))
        ways.append(f"--image-max-tokens {share} makes the pictures smaller")
    return ContextOverflow(
        f"the prompt needs {total} tokens and the context holds {limit}: {', '.join(parts)}",
        hint=", or ".join(ways) or "a shorter prompt is needed: the model was trained for no more",
    )
