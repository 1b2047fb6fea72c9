"""From two files to an engine and the chat handler of their family."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ggufvlm.config import EngineConfig
from ggufvlm.errors import ModelError
from ggufvlm.handlers import ChatHandler, ModelFacts, PlainHandler, SpecialTokens, find_handler
from ggufvlm.handlers.qwen_vl import DEFAULT_MAX_TOKENS
from ggufvlm.models import ModelFiles

if TYPE_CHECKING:
    from ggufvlm.engine.engine import Engine, Progress
    from ggufvlm.llama.model import Model
    from ggufvlm.llama.projector import Projector, TokenBudget
    from ggufvlm.llava_repair import Repair
    from ggufvlm.offload import OffloadPlan
    from ggufvlm.pairing import PairReport
    from ggufvlm.projector_setup import Derived
    from ggufvlm.registry_schema import ImageFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """What is to be loaded, and whom to tell.

    Attributes:
        report: what the headers of the two files say.
        raw: no chat template.
        on_share: takes the loaded share of the model, 0 to 1.
        on_progress: takes the engine's progress before an answer begins.
        go_on: asked often while loading; False stops it.
    """

    files: ModelFiles
    report: PairReport
    config: EngineConfig
    raw: bool
    on_share: Callable[[float], None]
    on_progress: Callable[[Progress], None] | None
    go_on: Callable[[], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A model in memory.

    Attributes:
        adds_bos, adds_eos: what its tokenizer does by itself.
        repair: what is mended for it, for people.
        projector: which derived projector was loaded in place of the published one, for people; None if none.
    """

    engine: Engine
    handler: ChatHandler
    adds_bos: bool
    adds_eos: bool
    seconds: float
    repair: str | None
    projector: str | None = None


def load_engine(loading: Loading) -> Loaded:
    """Load both files, with fewer GPU layers if the memory there does not suffice.

    Raises:
        ModelError, PairingError: llama.cpp refuses the files.
        EngineError: they do not fit into this machine.
    """
    from ggufvlm.engine.engine import Engine
    from ggufvlm.engine.runner import Runner
    from ggufvlm.llama.devices import default_threads
    from ggufvlm.llava_repair import find_repair
    from ggufvlm.offload import plan_offload
    from ggufvlm.reuse import Origin, look_ahead, open_embeddings, open_snapshots

    began = time.perf_counter()
    files, n_threads = loading.files, loading.config.n_threads or default_threads()
    if loading.config.use_cache:
        look_ahead(files.model)
    plan = plan_offload(files.model, files.mmproj, loading.config, files.spec)
    repair = find_repair(loading.report, files.model)
    derived = _derived_projector(loading, plan, repair)
    mmproj = derived.path if derived else _repaired_projector(loading, repair)
    model, projector, config = _load_as_planned(loading, plan, repair, n_threads, mmproj)
    vocab = model.vocab
    origin = Origin(
        model=files.model,
        mmproj=mmproj,
        config=config,
        encoding=f"{_budget(loading, repair)}, drops last row {repair.class_token}",
        n_embd_inp=model.n_embd_inp,
    )
    runner = Runner(model, projector, config, n_threads=n_threads, embeddings=open_embeddings(origin))
    return Loaded(
        engine=Engine(runner, config, loading.on_progress, open_snapshots(origin)),
        handler=_make_handler(loading, repair, model.chat_template, SpecialTokens(vocab.bos, vocab.eos)),
        adds_bos=vocab.adds_bos,
        adds_eos=vocab.adds_eos,
        seconds=time.perf_counter() - began,
        repair=repair.text,
        projector=derived.text if derived else None,
    )


def _derived_projector(loading: Loading, plan: OffloadPlan, repair: Repair) -> Derived | None:
    """Raises: EngineError, where nothing could be derived and the projector as published is too large."""
    from ggufvlm.engine.engine import Progress
    from ggufvlm.projector_setup import Setup, set_up

    def report(share: float) -> None:
        if loading.on_progress is not None:
            loading.on_progress(Progress("prepare", int(100 * share), 100))

    setup = Setup(
        files=loading.files,
        repair=repair,
        on_cpu=plan.projector_on_cpu,
        does_not_fit=plan.refusal is not None,
        on_share=report,
        go_on=loading.go_on,
    )
    derived = set_up(setup)
    if derived is None and plan.refusal is not None:
        raise plan.refusal
    return derived


def _load_as_planned(
    loading: Loading, plan: OffloadPlan | None, repair: Repair, n_threads: int, mmproj: Path
) -> tuple[Model, Projector, EngineConfig]:
    from ggufvlm.llama.loading import load_pair
    from ggufvlm.pairing import check_pair

    files, budget = loading.files, _budget(loading, repair)
    refusal: ModelError | None = None
    while plan is not None:
        try:
            pair = load_pair(
                files.model,
                mmproj,
                plan.config,
                budget,
                n_threads=n_threads,
                drops_last_row=repair.class_token,
                on_share=loading.on_share,
                go_on=loading.go_on,
            )
        except ModelError as error:
            # out of GPU memory and a damaged file look the same from here: fewer layers tell them apart
            refusal, plan = error, plan.with_fewer_layers()
        else:
            return *pair, plan.config
    check_pair(files.model, mmproj, thorough=True)  # has a better sentence than llama.cpp for most damage
    raise refusal or ModelError(f"{files.name}: llama.cpp cannot load this model")


def _repaired_projector(loading: Loading, repair: Repair) -> Path:
    from ggufvlm.llama.model import LoadAborted
    from ggufvlm.llava_repair import derived_projector

    def watch(_done: int, _total: int) -> None:
        if not loading.go_on():
            raise LoadAborted("loading the model was stopped")

    return derived_projector(loading.files.mmproj, repair, watch)


def _budget(loading: Loading, repair: Repair) -> TokenBudget:
    from ggufvlm.llama.projector import TokenBudget

    minimum, maximum = _make_handler(loading, repair, None, SpecialTokens()).library_budget
    return TokenBudget(minimum=minimum, maximum=maximum)


def _make_handler(loading: Loading, repair: Repair, template: str | None, tokens: SpecialTokens) -> ChatHandler:
    spec, config, report = loading.files.spec, loading.config, loading.report
    image = spec.image if spec else None
    facts = ModelFacts(
        template=template,
        builtin_template=spec.template if spec else None,
        tokens=tokens,
        patch_size=report.patch_size or 14,
        merge_size=report.spatial_merge_size or 2,
        image_min_tokens=config.image_min_tokens or (image.min_tokens if image else None),
        image_max_tokens=config.image_max_tokens or _default_budget(image),
        **_square_facts(report, repair),
    )
    family = find_handler(spec.handler if spec else None, report.projector_type, report.architecture)(facts)
    return PlainHandler(family) if loading.raw else family


class _SquareFacts(TypedDict, total=False):
    square: int | None
    pad_color: tuple[int, int, int] | None
    rolls_patches: bool


def _square_facts(report: PairReport, repair: Repair) -> _SquareFacts:
    """Of a CLIP tower with one square; where libmtmd cuts tiles, it needs the whole picture."""
    from ggufvlm.llava_repair import may_need_repair

    if not may_need_repair(report) or (report.has_image_grid and not repair.one_tile):
        return {}
    red, green, blue = (int(255 * min(1.0, max(0.0, mean))) for mean in report.image_mean[:3])
    return {
        "square": report.image_size,
        "pad_color": None if report.has_image_grid else (red, green, blue),
        "rolls_patches": repair.class_token,
    }


def _default_budget(image: ImageFacts | None) -> int | None:
    """Tokens of a picture when the user sets none: as many as a CPU can look at without taking minutes."""
    if image is None or image.max_tokens is None:
        return None
    return min(image.max_tokens, DEFAULT_MAX_TOKENS)
