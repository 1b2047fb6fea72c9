"""Room in the KV cache: evict what is idle, grow the context."""

from __future__ import annotations

from collections import Counter

from ggufvlm.config import EngineConfig
from ggufvlm.engine.prefix_cache import PrefixCache
from ggufvlm.engine.request import Request, TextPart
from ggufvlm.engine.runner import Prompt, Runner
from ggufvlm.engine.scheduler import Scheduler
from ggufvlm.engine.sequence import Sequence, count_cells
from ggufvlm.errors import ContextOverflow, EngineError

_MOST_NAMED = 3  # images, in a message
_LEAST_IMAGE_TOKENS = 16  # less of an image tells nothing
ROOM_FOR_ANSWER = 512
"""Cells reserved beyond the prompt at first; the context grows when an answer needs more."""
_LONGEST_TOKEN = 256  # characters; the longest of known vocabularies are runs of 128 blanks
_STEP = 256  # llama.cpp rounds contexts up to this


class Room:
    """Sees to it that there are cells for what comes next.

    A context grows as long as the user has set no size; beyond what one prompt may take, idle cells go first.
    """

    def __init__(self, runner: Runner, scheduler: Scheduler, cache: PrefixCache, config: EngineConfig) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._cache = cache
        self._n_slots = config.n_slots
        self._fixed = config.n_ctx
        self.n_ctx_limit = config.n_ctx or runner.model.n_ctx_train
        self._n_cells_limit = config.n_ctx or config.n_slots * runner.model.n_ctx_train

    def for_prompt(self, sequence: Sequence, slot: int, n_known: int, n_rows_together: int) -> bool:
        """Whether a waiting sequence can run now, after making room for its prompt and some answer.

        Args:
            sequence: that waits.
            slot: where it is to run; it already holds the first ``n_known`` cells of the prompt.
            n_rows_together: rows that have to be computed at once.

        Raises:
            EngineError: there is no memory, although nothing else runs.
        """
        running = self._scheduler.running
        whole = min(sequence.n_prompt + len(sequence.generated) + _room_for_answer(sequence), self.n_ctx_limit)
        needed = self._cache.n_cells + whole - n_known + sum(_n_reserved(s) for s in running)
        size = self._n_slots * whole if not self._runner.n_ctx else needed
        return self._provide(needed, size, {slot, *(s.slot for s in running)}, n_rows_together)

    def for_step(self, n_rows: int) -> bool:
        """Whether there are cells for ``n_rows`` more. False if only a running sequence could make room.

        Raises:
            EngineError: there is no memory.
        """
        running = self._scheduler.running
        needed = self._cache.n_cells + sum(s.offset for s in running if s.is_inside_image) + n_rows
        return self._provide(needed, 2 * self._runner.n_ctx, {s.slot for s in running})

    def evict(self) -> bool:
        """Drop the idle cells that have been left alone longest; False if there are none."""
        return self._evict({s.slot for s in self._scheduler.running})

    def _provide(self, needed: int, size: int, keep: set[int], n_rows_together: int = 0) -> bool:
        while True:
            n_ctx = self._runner.n_ctx
            if n_ctx and needed <= n_ctx:
                self._resize(n_ctx, n_rows_together)
                return True
            n_before = self._cache.n_cells
            if n_ctx >= self.n_ctx_limit and self._evict(keep):
                needed -= n_before - self._cache.n_cells
                continue
            if n_ctx >= self._n_cells_limit:
                return False
            try:
                self._resize(max(size, needed), n_rows_together)
            except EngineError:
                if not self._evict(keep):
                    raise
                needed -= n_before - self._cache.n_cells
            else:
                return True

    def _resize(self, n_cells: int, n_rows_together: int) -> None:
        wanted = self._fixed or min(-(-n_cells // _STEP) * _STEP, self._n_cells_limit)
        if not self._runner.ensure_context(wanted, n_rows_together):
            self._forget()

    def _evict(self, keep: set[int]) -> bool:
        slot = self._cache.least_recently_used(slot for slot in range(self._n_slots) if slot not in keep)
        if slot is None:
            return False
        self._runner.clear(slot)
        self._cache.cut(slot, [])
        return True

    def _forget(self) -> None:
        """All cells are gone: running sequences have to begin again."""
        for slot in range(self._n_slots):
            self._cache.cut(slot, [])
        for sequence in reversed(self._scheduler.running.copy()):
            self._scheduler.preempt(sequence)


def _room_for_answer(sequence: Sequence) -> int:
    # one that only computes a prompt is followed by one that answers
    return min(sequence.max_tokens, ROOM_FOR_ANSWER) if sequence.max_tokens > 0 else ROOM_FOR_ANSWER


def _n_reserved(sequence: Sequence) -> int:
    """Cells that a running sequence is going to need."""
    inside = sequence.offset if sequence.is_inside_image else 0
    return sequence.n_uncomputed + inside + max(0, _room_for_answer(sequence) - len(sequence.generated))


def overflow(prompt: Prompt, limit: int, n_ctx_train: int) -> ContextOverflow:
    """The error of a prompt that is longer than the context: what takes how much, and what would help.

    Args:
        prompt: the prompt.
        limit: cells of the largest context.
        n_ctx_train: cells that the model was trained for.
    """
    takes: Counter[str] = Counter()
    for chunk, part in prompt.images.values():
        takes[part.source] += chunk.n_cells
    total = count_cells(prompt.segments)
    n_text, n_images = total - sum(takes.values()), _count_images(prompt)
    return ContextOverflow(
        f"the prompt needs {total} tokens and the context holds {limit}: {_listed(takes, n_images)}the text {n_text}",
        hint=", or ".join(_ways(prompt, limit, n_ctx_train))
        or "a shorter prompt is needed: the model was trained for no more",
    )


def _count_images(prompt: Prompt) -> int:
    return sum(place >= 0 for place in prompt.cells)  # one may have many chunks: its tiles


def _listed(takes: Counter[str], n_images: int) -> str:
    """What images take: the largest ones by name."""
    named = takes.most_common(_MOST_NAMED) if len(takes) > _MOST_NAMED else list(takes.items())
    parts = "".join(f"{source} takes {n}, " for source, n in named)
    return f"{n_images} images take {takes.total()} ({parts}and so on), " if len(takes) > _MOST_NAMED else parts


def _ways(prompt: Prompt, limit: int, n_ctx_train: int) -> list[str]:
    """What would make the prompt fit."""
    total, n_images, ways = count_cells(prompt.segments), _count_images(prompt), []
    wanted = -(-(total + ROOM_FOR_ANSWER) // 256) * 256
    if limit < wanted <= n_ctx_train:
        ways.append(f"--ctx-size {wanted} makes room")
    share = (limit - prompt.cells[-1] - 64) // max(1, n_images)  # some for the answer
    least = [part.least_tokens for _, part in prompt.images.values()]
    if least and all(n is not None and max(n, _LEAST_IMAGE_TOKENS) <= share for n in least):
        ways.append(f"--image-max-tokens {share} makes the images smaller")
    elif n_images > 1:
        n_fitting = (limit - 64) * n_images // total
        ways.append(
            f"fewer images: about {n_fitting} of the {n_images} fit" if n_fitting > 1 else "one image at a time"
        )
    return ways


def refuse_long_text(request: Request, limit: int) -> None:
    """Refuse a text that cannot fit into the context, however few tokens it has: to count them could take minutes.

    Args:
        request: the prompt.
        limit: cells of the largest context.

    Raises:
        ContextOverflow: its texts are too long.
    """
    n_characters = sum(len(part.text) for part in request.parts if isinstance(part, TextPart))
    if n_characters > limit * _LONGEST_TOKEN:
        raise ContextOverflow(
            f"the prompt has {n_characters} characters and the context holds {limit} tokens",
            hint="a shorter prompt is needed",
        )
