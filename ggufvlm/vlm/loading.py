"""From two files to an engine and the chat handler of their family."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.config import EngineConfig
from ggufvlm.errors import ModelError
from ggufvlm.families import ChatHandler, PlainHandler, SpecialTokens
from ggufvlm.families.facts import make_handler
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.models.files import ModelFiles

if TYPE_CHECKING:
    from ggufvlm.engine.engine import Engine, PromptProgress
    from ggufvlm.hardware.offload import OffloadPlan
    from ggufvlm.llama.model import Model
    from ggufvlm.llama.projector import Projector, TokenBudget
    from ggufvlm.media import Image
    from ggufvlm.models.pairing import PairReport
    from ggufvlm.projectors.repair import Repair
    from ggufvlm.projectors.select import Derived
    from ggufvlm.vlm.persistence import KnownImages


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """What is to be loaded, and the callbacks that are told.

    Attributes:
        report: what the headers of the two files say.
        raw: no chat template.
        on_load: takes the loaded fraction of the model, 0 to 1.
        on_progress: takes the engine's progress before an answer begins.
        cancel: stops loading.
        images: of the first question, so that no projector is loaded for images that are known; may block until
            they are read. ``None`` if that is not foreseen.
    """

    files: ModelFiles
    report: PairReport
    config: EngineConfig
    raw: bool
    on_load: Callable[[float], None]
    on_progress: Callable[[PromptProgress], None] | None
    cancel: CancelToken
    images: Callable[[], Sequence[Image] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A model in memory.

    Attributes:
        adds_bos, adds_eos: what its tokenizer does by itself.
        repair: what is mended of llama.cpp's computation for it, human-readable; None if nothing.
        projector: which derived projector was loaded in place of the published one, human-readable; None if none.
        on_gpu: the fraction of it that lies on a GPU, 0 to 1, as predicted.
    """

    engine: Engine
    handler: ChatHandler
    adds_bos: bool
    adds_eos: bool
    seconds: float
    repair: str | None
    projector: str | None = None
    on_gpu: float = 0.0


class Loader:
    """Loads when it is called, in the thread of the engine. It knows no :class:`~ggufvlm.VLM`: nobody keeps one alive.

    Attributes:
        loaded: what came of it.
    """

    def __init__(self, loading: Loading) -> None:
        self.loading = loading
        self.loaded: Loaded | None = None

    def __call__(self) -> Engine:
        """Load.

        Raises: as :func:`load_engine`.
        """
        self.loaded = load_engine(self.loading)
        return self.loaded.engine


def load_engine(loading: Loading) -> Loaded:
    """Load both files, with fewer GPU layers if the memory there does not suffice.

    Raises:
        ModelError, PairingError: llama.cpp refuses the files.
        EngineError: they do not fit into this machine.
    """
    from ggufvlm.engine.engine import Engine
    from ggufvlm.engine.runner import Runner
    from ggufvlm.hardware.cpu import default_threads
    from ggufvlm.hardware.offload import fraction_on_gpu, plan_offload, usable_gpus
    from ggufvlm.llama.devices import offload_devices
    from ggufvlm.llama.lazy_projector import LazyProjector
    from ggufvlm.llama.trial import Pair, try_once
    from ggufvlm.models.known_sound import are_published, check_once
    from ggufvlm.projectors.repair import find_repair
    from ggufvlm.vlm.persistence import Origin, look_ahead, open_images, open_snapshots

    began = time.perf_counter()
    files, n_threads = loading.files, loading.config.n_threads or default_threads()
    if loading.config.use_cache:
        look_ahead(files.model)
    check_once(files.model)
    if not are_published(files):
        try_once(Pair(files.model, files.mmproj, n_threads), loading.cancel)
    devices = offload_devices()
    plan = plan_offload(files.model, files.mmproj, loading.config, devices, files.spec)
    repair = find_repair(loading.report, files.model)
    derived = _derived_projector(loading, plan, repair)
    mmproj = derived.path if derived else _repaired_projector(loading, repair)
    origin = Origin(
        model=files.model,
        mmproj=mmproj,
        config=plan.config,
        encoding=f"{_budget(loading, repair)}, drops last row {repair.class_token}",
    )
    known = open_images(origin)
    to_load = _ToLoad(
        loading=loading,
        repair=repair,
        mmproj=mmproj,
        n_threads=n_threads,
        is_wanted=lambda: not _all_known(loading, repair, known),
    )
    model, projector, config = _load_as_planned(to_load, plan)
    vocab = model.vocab
    lazy = LazyProjector(vocab, projector, lambda: _load_projector(to_load, model, config), known)
    runner = Runner(model, lazy, config, n_threads=n_threads, embeddings=known.embeddings(model.n_embd_inp))
    return Loaded(
        engine=Engine(runner, config, loading.on_progress, open_snapshots(replace(origin, config=config))),
        handler=_make_handler(
            loading,
            repair,
            SpecialTokens(vocab.bos, vocab.eos),
            template=model.chat_template,
            tool_template=model.tool_template,
        ),
        adds_bos=vocab.adds_bos,
        adds_eos=vocab.adds_eos,
        seconds=time.perf_counter() - began,
        repair=repair.text,
        projector=derived.text if derived else None,
        on_gpu=fraction_on_gpu(plan.prediction, config) if plan.prediction and usable_gpus(devices) else 0.0,
    )


def _derived_projector(loading: Loading, plan: OffloadPlan, repair: Repair) -> Derived | None:
    """Raises: EngineError, where nothing could be derived and the projector as published is too large."""
    from ggufvlm.engine.engine import PromptProgress
    from ggufvlm.projectors.select import Setup, set_up

    def report(fraction: float) -> None:
        if loading.on_progress is not None:
            loading.on_progress(PromptProgress("prepare", int(100 * fraction), 100))

    setup = Setup(
        files=loading.files,
        repair=repair,
        on_cpu=plan.projector_on_cpu,
        does_not_fit=plan.refusal is not None,
        on_progress=report,
        cancel=loading.cancel,
    )
    derived = set_up(setup)
    if derived is None and plan.refusal is not None:
        raise plan.refusal
    return derived


@dataclass(frozen=True, kw_only=True, slots=True)
class _ToLoad:
    """How the projector is loaded, and whether at once."""

    loading: Loading
    repair: Repair
    mmproj: Path
    n_threads: int
    is_wanted: Callable[[], bool]


def _all_known(loading: Loading, repair: Repair, known: KnownImages) -> bool:
    """Whether the first question needs no projector; waits until its images are known."""
    from ggufvlm.media.pixels.prepare import planned_id

    images = loading.images()
    if not images:
        return False
    handler = _make_handler(loading, repair, SpecialTokens())
    plans = [(image, handler.plan_of(image)) for image in images]
    return all(known.has(planned_id(image, plan), plan.width, plan.height) for image, plan in plans)


def _load_as_planned(to_load: _ToLoad, plan: OffloadPlan | None) -> tuple[Model, Projector | None, EngineConfig]:
    from ggufvlm.llama.loading import load_pair
    from ggufvlm.models.pairing import check_pair

    loading, files = to_load.loading, to_load.loading.files
    refusal: ModelError | None = None
    while plan is not None:
        try:
            pair = load_pair(
                files.model,
                to_load.mmproj,
                plan.config,
                _budget(loading, to_load.repair),
                n_threads=to_load.n_threads,
                drops_last_row=to_load.repair.class_token,
                is_wanted=to_load.is_wanted,
                on_progress=loading.on_load,
                cancel=loading.cancel,
            )
        except ModelError as error:
            # out of GPU memory and a damaged file look the same from here: fewer layers tell them apart
            refusal, plan = error, plan.with_fewer_layers()
        else:
            return *pair, plan.config
    check_pair(files.model, files.mmproj, thorough=True)  # has a better sentence than llama.cpp for most damage
    raise refusal or ModelError(f"{files.name}: llama.cpp cannot load this model")


def _load_projector(to_load: _ToLoad, model: Model, config: EngineConfig) -> Projector:
    """Raises: PairingError, LoadAborted."""
    from ggufvlm.llama.projector import Projector

    return Projector(
        to_load.mmproj,
        model,
        config,
        _budget(to_load.loading, to_load.repair),
        to_load.n_threads,
        drops_last_row=to_load.repair.class_token,
        cancel=to_load.loading.cancel,
    )


def _repaired_projector(loading: Loading, repair: Repair) -> Path:
    from ggufvlm.projectors.repair import derived_projector

    def watch(_done: int, _total: int) -> None:
        loading.cancel.check()

    return derived_projector(loading.files.mmproj, repair, watch)


def _budget(loading: Loading, repair: Repair) -> TokenBudget:
    from ggufvlm.llama.projector import TokenBudget

    minimum, maximum = _make_handler(loading, repair, SpecialTokens()).library_budget
    return TokenBudget(minimum=minimum, maximum=maximum)


def _make_handler(
    loading: Loading,
    repair: Repair,
    tokens: SpecialTokens,
    *,
    template: str | None = None,
    tool_template: str | None = None,
) -> ChatHandler:
    family = make_handler(loading.files, loading.report, loading.config, repair)
    family.facts = replace(family.facts, template=template, tool_template=tool_template, tokens=tokens)
    return PlainHandler(family) if loading.raw else family
