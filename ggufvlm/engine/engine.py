"""Requests in, text out: admits sequences, runs one step at a time, turns tokens into text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from ggufvlm.config import EngineConfig
from ggufvlm.engine.admission import choose_place
from ggufvlm.engine.kv_capacity import Room, overflow, refuse_long_text
from ggufvlm.engine.prefix_cache import PrefixCache
from ggufvlm.engine.request import Request
from ggufvlm.engine.runner import Runner
from ggufvlm.engine.scheduler import MediaStep, Scheduler, TokenStep
from ggufvlm.engine.sequence import FinishReason, Sequence, Status, TextSegment, count_cells, count_positions
from ggufvlm.engine.slots import Slots
from ggufvlm.engine.snapshots import Snapshots
from ggufvlm.engine.task import Output, Task, as_engine_error
from ggufvlm.errors import EngineError, GGUFVLMError
from ggufvlm.llama.context import DecodeAborted, NoRoom, OnNativeCall
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import EncodeAborted


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """How far the work before the first word has come.

    ``done`` counts per cent of a projector that is prepared once, layers of the image's encoder, or prompt cells;
    ``total`` is ``None`` where nobody knows how many there are.
    """

    stage: Literal["prepare", "encode", "prefill"]
    done: int
    total: int | None


class Engine:
    """One model, one context, one thread. :meth:`abort` may be called from any thread.

    Attributes:
        on_progress: told how far a prompt has come.
        on_outputs: gets outputs that are ready in the midst of a step; without it :meth:`step` returns them.
    """

    def __init__(
        self,
        runner: Runner,
        config: EngineConfig,
        on_progress: Callable[[PromptProgress], None] | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._runner = runner
        self._config = config
        self._scheduler = Scheduler(config.n_slots, config.n_batch, config.n_ubatch, config.priority)
        self._cache = PrefixCache(config.n_slots)
        self._room = Room(runner, self._scheduler, self._cache, config)
        self._slots = Slots(runner, self._cache, snapshots)
        self._tasks: dict[int, Task] = {}
        self._next_id = 0
        self._computing: tuple[Sequence, ...] = ()
        self._pending: list[Output] = []
        self._seconds_aside = 0.0
        self.on_progress = on_progress
        self.on_outputs: Callable[[list[Output]], None] | None = None

    @property
    def model(self) -> Model:
        """The language model's weights; for use in the engine's thread."""
        return self._runner.model

    def time_native_calls(self, told: OnNativeCall | None) -> None:
        """Measure llama.cpp's part of each step; in the engine's thread.

        Args:
            told: gets when a native call began and ended, in seconds of ``time.perf_counter``; ``None`` ends it.
        """
        self._runner.time_native_calls(told)

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle

    @property
    def has_projector(self) -> bool:
        """Whether a projector is in memory; known images need none."""
        return self._runner.projector.is_loaded

    @property
    def n_ctx(self) -> int:
        """Cells of the present context, 0 before the first request runs."""
        return self._runner.n_ctx

    @property
    def n_ctx_limit(self) -> int:
        """The most cells a prompt and its answer may take."""
        return self._room.n_ctx_limit

    def add(self, request: Request) -> Sequence:
        """Tokenize a request and queue it.

        Raises:
            ContextOverflow: the prompt is longer than the context; the message counts what each image takes.
            UsageError: the prompt does not end with text, or the constraint is refused.
        """
        refuse_long_text(request, self.n_ctx_limit)
        prompt = self._runner.tokenize(request)
        if count_cells(prompt.segments) >= self.n_ctx_limit:
            prompt.close()
            raise overflow(prompt, self.n_ctx_limit, self._runner.model.n_ctx_train)
        try:
            sampler = self._runner.make_sampler(request)
        except GGUFVLMError:
            prompt.close()
            raise
        max_tokens = 0 if request.only_prefill else request.sampling.max_tokens
        sequence = Sequence(self._next_id, prompt.segments, max_tokens, seed=sampler.seed)
        self._next_id += 1
        thoughts = self._runner.make_splitter(request)
        sequence.thoughts_are_counted = request.thoughts is not None and request.thoughts.are_counted
        self._tasks[sequence.id] = Task.make(request, prompt, sampler, thoughts, time.perf_counter())
        self._scheduler.add(sequence)
        return sequence

    def measure(self, request: Request) -> Counter[int]:
        """Cells of a prompt: of each image by its place among the images, and of its text under -1."""
        prompt = self._runner.tokenize(request)
        prompt.close()
        return prompt.cells

    def abort(self, sequence: Sequence) -> None:
        """Make a sequence end soon, with what it has said. From any thread.

        A step that other sequences share is not thrown away for it.
        """
        sequence.abort_requested = True
        if all(other.abort_requested for other in self._computing):
            self._runner.interrupt()

    def step(self) -> list[Output]:
        """Compute one step; returns what it gave to each sequence."""
        self._runner.resume()  # before looking at the requests, so that one that comes meanwhile is not forgotten
        outputs = self._end_aborted((*self._scheduler.running, *self._scheduler.waiting))
        if not outputs:
            outputs = self._admit() or self._run_plan()
        outputs, self._pending = self._pending + outputs, []
        return outputs

    def _end_aborted(self, sequences: tuple[Sequence, ...]) -> list[Output]:
        return [self._finish(sequence, "abort") for sequence in sequences if sequence.abort_requested]

    # -- admission

    def _admit(self) -> list[Output]:
        """Let waiting sequences run; what comes back is of those that cannot."""
        for sequence in tuple(self._scheduler.waiting):
            if not self._scheduler.free_slots:
                break
            try:
                if not self._admit_one(sequence):
                    break
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                return [self._fail(sequence, as_engine_error(error))]
        return []

    def _admit_one(self, sequence: Sequence) -> bool:
        """False if there is no room for it, and so for none behind it."""
        running = self._scheduler.running
        free, can_cut = self._scheduler.free_slots, self._runner.model.can_cut_memory
        place = choose_place(sequence.segments, self._cache, free, running, can_cut=can_cut)
        if place is None:
            return True  # its turn comes when what it shares with a running one is computed
        self._slots.begin(place)
        n_known = count_cells(self._cache.contents(place.slot))
        n_rows_together = self._tasks[sequence.id].prompt.n_rows_together
        if not self._room.for_prompt(sequence, place.slot, n_known, n_rows_together):
            return False
        n_restored = self._slots.restore(place.slot, sequence.segments)
        self._scheduler.admit(sequence, place.slot)
        self._cache.use(place.slot)
        sequence.start_after(self._cache.contents(place.slot))
        sequence.n_restored = n_restored
        return True

    # -- steps

    def _run_plan(self) -> list[Output]:
        plan = self._scheduler.plan()
        if plan is None:
            return []
        involved = [plan.sequence] if isinstance(plan, MediaStep) else [row.sequence for row in plan.rows]
        involved = list(dict.fromkeys(involved))
        n_rows = plan.n_rows if isinstance(plan, MediaStep) else len(plan.rows)
        try:
            if not self._room.for_step(n_rows):
                return self._make_room(NoRoom("the context is full"))
        except EngineError as error:
            return self._make_room(error)
        if any(sequence.slot < 0 for sequence in involved):
            return []  # the context was made anew and they wait again
        return self._guarded(
            involved, lambda: self._run_media(plan) if isinstance(plan, MediaStep) else self._run_tokens(plan)
        )

    def _guarded(self, involved: list[Sequence], run: Callable[[], list[Output]]) -> list[Output]:
        """Run a step; after a failure the cells are as they were before it."""
        outer, self._computing = self._computing, tuple(involved)
        try:
            return run()
        except (DecodeAborted, EncodeAborted):
            # one that was not meant by the interruption goes on, from the start if its memory could not be cut back
            for sequence in involved:
                if not self._slots.cut_back(sequence) and not sequence.abort_requested:
                    self._scheduler.preempt(sequence)
            return []
        except NoRoom as error:
            for sequence in involved:
                self._slots.cut_back(sequence)
            return self._make_room(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine lives on
            for sequence in involved:
                self._slots.cut_back(sequence)
            return [self._fail(sequence, as_engine_error(error)) for sequence in involved if sequence.id in self._tasks]
        finally:
            self._computing = outer

    def _make_room(self, error: EngineError) -> list[Output]:
        """The step did not fit: idle cells go, or the youngest sequence waits; a single one has to fail."""
        if self._room.evict():
            return []
        youngest = self._scheduler.running[-1]
        if len(self._scheduler.running) == 1:
            return [self._fail(youngest, error)]
        self._slots.clear(youngest.slot)
        self._scheduler.preempt(youngest)
        return []

    def _run_media(self, plan: MediaStep) -> list[Output]:
        sequence, task = plan.sequence, self._tasks[plan.sequence.id]
        embeddings = task.embeddings
        if embeddings is None:
            began, self._seconds_aside = time.perf_counter(), 0.0
            embeddings, was_encoded = self._runner.embeddings(task.prompt, sequence.cursor, self._between_layers)
            task.embeddings = embeddings
            sequence.n_encoded += was_encoded
            sequence.n_recalled += not was_encoded
            if was_encoded:
                sequence.timings.encode += time.perf_counter() - began - self._seconds_aside
            if sequence.slot < 0:
                return []  # meanwhile an answer needed its room; what was encoded is known when its turn comes again
        began = time.perf_counter()
        rows = slice(sequence.offset, sequence.offset + plan.n_rows)
        n_rows = self._runner.run_image(
            task.prompt, sequence.cursor, embeddings, rows, slot=sequence.slot, start=sequence.n_pos
        )
        sequence.timings.prefill += time.perf_counter() - began
        sequence.advance(n_rows)
        if sequence.offset == 0:
            task.embeddings = None
            self._cache.append(sequence.slot, plan.segment)
            self._slots.image_done(sequence)
        return []

    def _between_layers(self, n_layers: int) -> None:
        """While an image is encoded, running answers go on between two of its layers, in this same thread.

        On a CPU a second thread would only take cores away from the encoder, and both would wait for each other.
        """
        self._report("encode", n_layers, self._runner.n_vision_layers)
        if self._config.priority != "latency" or self._config.n_slots == 1:
            return
        began = time.perf_counter()
        outputs = self._end_aborted(tuple(self._scheduler.answering))
        plan = self._scheduler.plan_answers()
        if plan is not None and self._room.for_step(len(plan.rows)):
            outputs += self._guarded([row.sequence for row in plan.rows], lambda: self._run_tokens(plan))
        self._hand_over(outputs)
        self._seconds_aside += time.perf_counter() - began

    def _hand_over(self, outputs: list[Output]) -> None:
        if self.on_outputs is not None:
            self.on_outputs(outputs)
        else:
            self._pending += outputs

    def _run_tokens(self, plan: TokenStep) -> list[Output]:
        began = time.perf_counter()
        self._runner.run_tokens(plan.rows)
        seconds_per_row = (time.perf_counter() - began) / len(plan.rows)
        outputs = []
        for sequence, rows in groupby(enumerate(plan.rows), key=lambda item: item[1].sequence):
            indexed = list(rows)
            self._cache.append(sequence.slot, [row.token for _, row in indexed])
            if sequence.status is Status.DECODE:
                sequence.n_pos += 1
                sequence.timings.decode += seconds_per_row
            else:
                sequence.advance(len(indexed))
                sequence.timings.prefill += seconds_per_row * len(indexed)
                self._report("prefill", count_cells(self._cache.contents(sequence.slot)), sequence.n_prompt)
            index, last = indexed[-1]
            if last.wants_logits:
                outputs.append(self._take_token(sequence, index))
        return outputs

    def _take_token(self, sequence: Sequence, row: int) -> Output:
        if sequence.max_tokens == 0:
            return self._finish(sequence, "length")
        task = self._tasks[sequence.id]
        began = time.perf_counter()
        try:
            return self._say(sequence, task, row, began)
        except Exception as error:  # noqa: BLE001 - its own constraint or settings: the others of this step go on
            return self._fail(sequence, as_engine_error(error))

    def _say(self, sequence: Sequence, task: Task, row: int, began: float) -> Output:
        token = task.choose(self._runner, sequence, row)
        sequence.status = Status.DECODE
        if sequence.timings.first_token is None:
            sequence.timings.first_token = time.perf_counter() - task.added_at
        if not task.ignores_eos and self._runner.model.vocab.is_end(token):
            return self._finish(sequence, "stop")
        sequence.generated.append(token)
        sequence.next_token = token
        thought, text = task.read(sequence, token, self._runner.model.vocab)
        sequence.timings.decode += time.perf_counter() - began
        reason = task.reason_to_end(sequence, self.n_ctx_limit)
        if reason is None:
            return Output(sequence, text, thought=thought)
        return self._finish(sequence, reason, text, thought)

    # -- ends

    def _finish(self, sequence: Sequence, reason: FinishReason, text: str = "", thought: str = "") -> Output:
        task = self._tasks.pop(sequence.id)
        if sequence.slot >= 0 and sequence.is_inside_image:
            self._slots.cut_back(sequence)
        task.close()
        sequence.status, sequence.finish_reason = Status.FINISHED, reason
        self._scheduler.remove(sequence)
        last_thought, last_text = task.read_end()
        return Output(sequence, text + last_text, is_last=True, thought=thought + last_thought)

    def _fail(self, sequence: Sequence, error: EngineError) -> Output:
        try:
            return replace(self._finish(sequence, "error"), error=error)
        except Exception:  # noqa: BLE001 - what made it fail may keep its last words, too
            return Output(sequence, "", is_last=True, error=error)

    def _report(self, stage: Literal["encode", "prefill"], done: int, total: int | None) -> None:
        if self.on_progress is not None:
            self.on_progress(PromptProgress(stage, done, total))

    def check(self) -> None:
        """Assert that the records of slots, sequences and cells agree. Between two steps."""
        running = self._scheduler.running
        taken = [sequence.slot for sequence in running]
        assert sorted((*taken, *self._scheduler.free_slots)) == list(range(self._config.n_slots))
        assert {s.id for s in (*running, *self._scheduler.waiting)} == set(self._tasks)
        assert self._cache.n_cells <= self._runner.n_ctx, "more cells in use than there are"
        inside = {sequence.slot for sequence in running if sequence.is_inside_image}
        for slot in range(self._config.n_slots if self._runner.n_ctx else 0):
            contents = self._cache.contents(slot)
            first, last = self._runner.context.position_range(slot)
            if slot in inside:
                assert last >= count_positions(contents) - 1
            elif not contents:
                assert last == -1, f"slot {slot} should be empty"
            else:
                assert first == 0 or not self._runner.model.can_cut_memory, f"slot {slot} begins at {first}"
                image_last = not isinstance(contents[-1], TextSegment)
                assert image_last or last == count_positions(contents) - 1, f"slot {slot} ends at {last}"
        for sequence in running:
            n_computed = sum(s.n_cells for s in sequence.segments[: sequence.cursor])
            n_computed += 0 if sequence.is_inside_image else sequence.offset
            n_said = max(0, len(sequence.generated) - 1) if sequence.is_prefilled else 0
            n_again = count_cells(sequence.segments) - sequence.n_prompt
            n_kept = count_cells(self._cache.contents(sequence.slot))
            assert n_kept == n_computed + max(0, n_said - n_again), f"sequence {sequence.id} has {n_kept} cells"

    def close(self) -> None:
        """End all sequences and free everything."""
        for sequence in (*self._scheduler.running, *self._scheduler.waiting):
            self._finish(sequence, "abort")
        self._slots.close()
        self._runner.close()
