"""What a run will cost, told from headers of images and of the model's files. Nothing is decoded or loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ggufvlm.batch.inputs.expand import media_file
from ggufvlm.batch.inputs.templates import Template
from ggufvlm.batch.item import Item
from ggufvlm.batch.journal.journal import read_rows
from ggufvlm.batch.outputs.writers import journal_path
from ggufvlm.batch.run.session import EngineSettings
from ggufvlm.errors import GGUFVLMError
from ggufvlm.families.facts import make_handler
from ggufvlm.gguf.header import read_header
from ggufvlm.media.decoding.headers import header_size
from ggufvlm.vlm.documents import Attachments

if TYPE_CHECKING:
    pass

_READERS, _AT_A_TIME = 4, 64
_CHARACTERS_PER_TOKEN = 3.5  # of English text, on the safe side
_TEMPLATE_TOKENS = 30
_MOST_NAMED = 20
_ANY_SIDE = 448
_SMALL, _MANY_TOKENS = 256, 1024
_ROOM_FOR_WORDS = 256  # of an answer


@dataclass(slots=True)
class Preflight:
    """What a look at all inputs has found.

    Attributes:
        count: inputs.
        n_done: of these, answered already; they count for nothing below.
        sizes: width and height in pixels of each image that has a header, and how often. All pages of a PDF and
            all frames of a video are taken to be as large as the first.
        unreadable: inputs that have none, and why; the first few.
        n_unreadable: all of them.
        image_tokens: of all images together; ``None`` where only the loaded model can tell.
        largest: tokens of the largest image.
        prompt_tokens: of the prompt, about.
        too_large: ids whose image and prompt exceed ``limit``; the first few.
        limit: tokens of context for one answer.
        projector_type: the projector's kind, which decides whether tokens can be told.
        memory: bytes that model, projector and context will take.
        advice: what to change.
    """

    count: int = 0
    n_done: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    n_unreadable: int = 0
    image_tokens: int | None = 0
    largest: int = 0
    prompt_tokens: int = 0
    too_large: list[str] = field(default_factory=list)
    n_too_large: int = 0
    limit: int = 0
    projector_type: str = ""
    memory: int = 0
    advice: list[str] = field(default_factory=list)


def preflight(
    items: Iterable[Item],
    template: Template,
    engine: EngineSettings,
    *,
    free: int | None = None,
    is_done: Callable[[Item], bool] = lambda _item: False,
) -> Preflight:
    """Look at every input.

    Args:
        items: the inputs.
        template: the prompt.
        engine: which model, and how it will run.
        free: bytes of memory that may be taken, for the advice.
        is_done: tells inputs that are answered already.

    Raises:
        ModelError, PairingError: the model's files are damaged or no pair.
    """
    counter = TokenCounter(engine)
    found = Preflight(
        limit=counter.limit, prompt_tokens=_prompt_tokens(template), projector_type=counter.projector_type
    )
    remaining = iter(items)
    pool = ThreadPoolExecutor(_READERS, "ggufvlm-preflight")
    try:
        while some := list(islice(remaining, _AT_A_TIME)):
            for item, seen in zip(some, pool.map(partial(_look, is_done=is_done), some), strict=True):
                _count(found, item, seen, counter)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, one may be long in coming
    if not counter.can_tell:
        found.image_tokens = None
    found.memory = counter.memory(found)
    found.advice = _advice(found, engine, free, counter.least)
    return found


class TokenCounter:
    """How many tokens an image takes, where that follows from its size and the projector's header."""

    def __init__(self, engine: EngineSettings) -> None:
        from ggufvlm.models.pairing import check_pair

        self._engine = engine
        report = check_pair(engine.files.model, engine.files.mmproj, allow_untyped=True)
        self.projector_type = report.projector_type
        self._handler = make_handler(engine.files, report, engine.config)
        model = read_header(engine.files.model)
        trained = model.integer(f"{model.architecture}.context_length") or 4096
        self.limit = min(engine.config.n_ctx or trained, trained)

    @property
    def least(self) -> int | None:
        """The fewest tokens that a limit could leave an image; ``None`` where it has no effect."""
        bounds = self._handler.token_bounds
        return bounds[0] if bounds else None

    @property
    def can_tell(self) -> bool:
        """Whether the projector's tokens are known without loading it."""
        return self._handler.n_tokens(_ANY_SIDE, _ANY_SIDE) is not None

    def tokens(self, width: int, height: int) -> int:
        """The tokens of one image; 0 where only the loaded model can tell.

        Raises:
            ImageError: the model does not take an image of this shape.
        """
        return self._handler.n_tokens(width, height) or 0

    def memory(self, found: Preflight) -> int:
        """Bytes, with a context for all slots."""
        from ggufvlm.gguf.names import split_parts
        from ggufvlm.hardware.memory import predict

        config = self._engine.config
        answer = self._engine.sampling.max_tokens
        each = found.largest + found.prompt_tokens + (512 if answer < 0 else min(answer, 512))
        n_ctx = config.n_ctx or min(self.limit, max(1024, each)) * config.n_slots
        parts = [read_header(path) for path in split_parts(self._engine.files.model)]
        projector = read_header(self._engine.files.mmproj)
        largest = found.largest or None
        return predict(parts, projector, replace(config, n_ctx=n_ctx), image_tokens=largest).total


class _Seen(NamedTuple):
    """Width and height in pixels of an input's first image, and how many there are."""

    width: int
    height: int
    n_images: int = 1


def _look(item: Item, is_done: Callable[[Item], bool]) -> _Seen | GGUFVLMError | None:
    """``None`` if there is nothing left to do."""
    if item.error is not None:
        return item.error
    try:
        return None if is_done(item) else _size(item)
    except GGUFVLMError as error:
        return error
    finally:
        if item.part is not None:
            item.part.strip.leave()


def _size(item: Item) -> _Seen:
    if item.part is not None:
        return _Seen(*item.part.strip.first_size())
    if item.whole is not None:
        attachments = Attachments.of_files(
            [media_file(source, item.id) for source in item.sources], item.whole.selection
        )
        first = attachments.first_images[0]
        return _Seen(first.width, first.height, attachments.n_wanted)
    return _Seen(*header_size(item.sources[0]), len(item.sources))


def _count(found: Preflight, item: Item, seen: _Seen | GGUFVLMError | None, counter: TokenCounter) -> None:
    found.count += 1
    if seen is None:
        found.n_done += 1
        return
    try:
        if isinstance(seen, GGUFVLMError):
            raise seen
        n_tokens = counter.tokens(seen.width, seen.height)
    except GGUFVLMError as error:
        found.n_unreadable += 1
        if len(found.unreadable) < _MOST_NAMED:
            found.unreadable.append((item.id, str(error)))
        return
    if item.whole is not None:  # no more of it is taken than fits
        n_tokens = max(n_tokens, min(seen.n_images * n_tokens, counter.limit - found.prompt_tokens))
    else:
        n_tokens *= seen.n_images
    found.sizes[seen.width, seen.height] += 1
    found.image_tokens = (found.image_tokens or 0) + n_tokens
    found.largest = max(found.largest, n_tokens)
    if n_tokens + found.prompt_tokens > counter.limit:
        found.n_too_large += 1
        if len(found.too_large) < _MOST_NAMED:
            found.too_large.append(item.id)


def _prompt_tokens(template: Template) -> int:
    return round(sum(map(len, template.pieces)) / _CHARACTERS_PER_TOKEN) + _TEMPLATE_TOKENS


def _advice(found: Preflight, engine: EngineSettings, free: int | None, least: int | None) -> list[str]:
    """What to change; ``least`` is the lowest limit that an image's tokens can keep, ``None`` if there is none."""
    advice = []
    can_be = range(least, found.largest) if least else ()  # limits that make the largest image smaller
    if free is not None and found.memory > free:
        smaller = "--slots 1, or a smaller quant of the model (-m NAME:Q4_K_M)"
        smaller += ", or --image-max-tokens 512" if 512 in can_be else ""
        advice.append(f"{found.memory / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free: {smaller}")
    room = found.limit - found.prompt_tokens
    fits = room - min(_ROOM_FOR_WORDS, room // 4)
    if found.too_large and fits in can_be:
        advice.append(f"--image-max-tokens {fits} makes all images fit into the context")
    elif found.largest > _MANY_TOKENS // 2 and engine.config.image_max_tokens is None and _SMALL in can_be:
        advice.append(f"--image-max-tokens {_SMALL} is several times faster, and sees less")
    if found.n_unreadable:
        advice.append(f"{found.n_unreadable} inputs will be rows with errors")
    return advice


def seconds_per_row(out: Path) -> float | None:
    """Mean seconds of work that the rows of an earlier run took, one at a time; ``None`` if there is none."""
    path = journal_path(out)
    if not path.is_file():
        return None
    total, count = 0.0, 0
    for row in read_rows(path):
        if row["same_as"] is None and row["time_decode"] is not None:
            total += sum(row[name] or 0.0 for name in ("time_encode", "time_prefill", "time_decode"))
            count += 1
    return total / count if count else None
