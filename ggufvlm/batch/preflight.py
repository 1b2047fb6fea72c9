"""What a run will take, told from headers of pictures and of the model's files. Nothing is decoded or loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.batch.item import Item
from ggufvlm.batch.journal import read_rows
from ggufvlm.batch.session import Engine
from ggufvlm.batch.templates import Template
from ggufvlm.batch.writers import journal_path
from ggufvlm.errors import GGUFVLMError
from ggufvlm.gguf_header import read_header
from ggufvlm.handlers import ChatHandler, ModelFacts, find_handler
from ggufvlm.handlers.qwen_vl import DEFAULT_MAX_TOKENS, QwenVLHandler
from ggufvlm.media.headers import header_size

if TYPE_CHECKING:
    from ggufvlm.pairing import PairReport

_READERS, _AT_A_TIME = 4, 64
_CHARACTERS_PER_TOKEN = 3.5  # of English text, on the safe side
_TEMPLATE_TOKENS = 30
_MOST_NAMED = 20
_SMALL, _MANY_TOKENS = 256, 1024


@dataclass(slots=True)
class Preflight:
    """What was found.

    Attributes:
        count: inputs.
        sizes: width and height in pixels of each picture that has a header, and how often.
        unreadable: inputs that have none, and why; the first few.
        n_unreadable: all of them.
        image_tokens: of all pictures together; ``None`` where only the loaded model can tell.
        largest: tokens of the largest picture.
        prompt_tokens: of the prompt, about.
        too_large: ids whose picture and prompt exceed ``limit``; the first few.
        limit: tokens of context for one answer.
        memory: bytes that model, projector and context will take.
        advice: what to change.
    """

    count: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    n_unreadable: int = 0
    image_tokens: int | None = 0
    largest: int = 0
    prompt_tokens: int = 0
    too_large: list[str] = field(default_factory=list)
    n_too_large: int = 0
    limit: int = 0
    memory: int = 0
    advice: list[str] = field(default_factory=list)


def preflight(items: Iterable[Item], template: Template, engine: Engine, *, free: int | None = None) -> Preflight:
    """Look at every input.

    Args:
        free: bytes of memory that may be taken, for the advice.

    Raises:
        ModelError, PairingError: the model's files are damaged or no pair.
    """
    counter = TokenCounter(engine)
    found = Preflight(limit=counter.limit, prompt_tokens=_prompt_tokens(template))
    remaining = iter(items)
    with ThreadPoolExecutor(_READERS, "ggufvlm-preflight") as pool:
        while some := list(islice(remaining, _AT_A_TIME)):
            for item, size in zip(some, pool.map(_size, some), strict=True):
                _count(found, item, size, counter)
    if not counter.can_tell:
        found.image_tokens = None
    found.memory = counter.memory(found)
    found.advice = _advice(found, engine, free)
    return found


class TokenCounter:
    """How many tokens a picture takes, where that follows from its size and the projector's header."""

    def __init__(self, engine: Engine) -> None:
        from ggufvlm.pairing import check_pair

        self._engine = engine
        report = check_pair(engine.files.model, engine.files.mmproj, allow_untyped=True)
        self._patch = (report.patch_size or 14) * (report.spatial_merge_size or 2)
        self._handler = _handler(engine, report)
        # LLaVA 1.5 and its like: one square, a token for each patch
        is_square = report.projector_type in ("mlp", "mlp_norm") and not report.has_image_grid
        self._square = ((report.image_size or 336) // (report.patch_size or 14)) ** 2 if is_square else None
        model = read_header(engine.files.model)
        trained = model.integer(f"{model.architecture}.context_length") or 4096
        self.limit = min(engine.config.n_ctx or trained, trained)

    @property
    def can_tell(self) -> bool:
        """Whether the projector's tokens are known without loading it."""
        return self._square is not None or isinstance(self._handler, QwenVLHandler)

    def tokens(self, width: int, height: int) -> int:
        """Of one picture; 0 where only the loaded model can tell.

        Raises:
            UsageError: the model does not take a picture of this shape.
        """
        if self._square is not None or not self.can_tell:
            return self._square or 0
        plan = self._handler.picture_plan(width, height)
        return -(-plan.width // self._patch) * -(-plan.height // self._patch)

    def memory(self, found: Preflight) -> int:
        """Bytes, with a context for all slots."""
        from ggufvlm.memory import predict
        from ggufvlm.pairing import split_parts

        config = self._engine.config
        answer = self._engine.sampling.max_tokens
        each = found.largest + found.prompt_tokens + (512 if answer < 0 else min(answer, 512))
        n_ctx = config.n_ctx or min(self.limit, max(1024, each)) * config.n_slots
        parts = [read_header(path) for path in split_parts(self._engine.files.model)]
        projector = read_header(self._engine.files.mmproj)
        largest = found.largest or None
        return predict(parts, projector, replace(config, n_ctx=n_ctx), image_tokens=largest).total


def _handler(engine: Engine, report: PairReport) -> ChatHandler:
    spec, config = engine.files.spec, engine.config
    image = spec.image if spec else None
    known = image.max_tokens if image else None
    facts = ModelFacts(
        patch_size=report.patch_size or 14,
        merge_size=report.spatial_merge_size or 2,
        image_min_tokens=config.image_min_tokens or (image.min_tokens if image else None),
        image_max_tokens=config.image_max_tokens or (min(known, DEFAULT_MAX_TOKENS) if known else None),
    )
    return find_handler(spec.handler if spec else None, report.projector_type, report.architecture)(facts)


def _size(item: Item) -> tuple[int, int] | GGUFVLMError:
    if item.error is not None:
        return item.error
    try:
        return header_size(item.sources[0])
    except GGUFVLMError as error:
        return error


def _count(found: Preflight, item: Item, size: tuple[int, int] | GGUFVLMError, counter: TokenCounter) -> None:
    found.count += 1
    try:
        if isinstance(size, GGUFVLMError):
            raise size
        n_tokens = counter.tokens(*size)
    except GGUFVLMError as error:
        found.n_unreadable += 1
        if len(found.unreadable) < _MOST_NAMED:
            found.unreadable.append((item.id, str(error)))
        return
    found.sizes[size] += 1
    found.image_tokens = (found.image_tokens or 0) + n_tokens
    found.largest = max(found.largest, n_tokens)
    if n_tokens + found.prompt_tokens > counter.limit:
        found.n_too_large += 1
        if len(found.too_large) < _MOST_NAMED:
            found.too_large.append(item.id)


def _prompt_tokens(template: Template) -> int:
    return round(sum(map(len, template.pieces)) / _CHARACTERS_PER_TOKEN) + _TEMPLATE_TOKENS


def _advice(found: Preflight, engine: Engine, free: int | None) -> list[str]:
    advice = []
    if free is not None and found.memory > free:
        smaller = "--slots 1, a smaller quant of the model (-m NAME:Q4_K_M), or --image-max-tokens 512"
        advice.append(f"{found.memory / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free: {smaller}")
    if found.too_large:
        fits = max(64, found.limit - found.prompt_tokens - 256)
        advice.append(f"--image-max-tokens {fits} makes all pictures fit into the context")
    elif found.largest > _MANY_TOKENS // 2 and engine.config.image_max_tokens is None:
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
