"""Finds out which projector to load on this machine, and makes it if it is to be a derived one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ggufvlm.errors import EngineError, ModelError
from ggufvlm.gguf.convert import matrix_type
from ggufvlm.gguf.header import read_header
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.models.files import ModelFiles
from ggufvlm.projectors import policy as projector_choice
from ggufvlm.projectors.bf16_trial import bf16_speedup
from ggufvlm.projectors.derive import DerivationRequest, derive, find_derived
from ggufvlm.projectors.files import projectors_folder
from ggufvlm.projectors.policy import VARIABLE, DerivedType, Situation, choose, text_of, wants_original, wins
from ggufvlm.projectors.repair import Repair

logger = logging.getLogger(__name__)


_TRIAL = 0.2
"""Fraction of the progress that the trial of a CPU takes, where it is not known yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Which projector is to be loaded where, and how the work is watched and stopped.

    Attributes:
        files: the model and its projector as published.
        repair: what is to be mended of the projector.
        on_cpu: no GPU computes it.
        does_not_fit: as published it does not fit into memory, and in Q8_0 it would.
        on_progress: takes the finished fraction of the work, 0 to 1, if there is any.
        cancel: stops the work.
    """

    files: ModelFiles
    repair: Repair
    on_cpu: bool = True
    does_not_fit: bool = False
    on_progress: Callable[[float], None] = lambda _fraction: None
    cancel: CancelToken = field(default_factory=CancelToken)

    def request(self, derived: DerivedType) -> DerivationRequest:
        """The derived projector of that type."""
        return DerivationRequest(model=self.files.model, source=self.files.mmproj, repair=self.repair, type=derived)


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """A projector that takes the place of the published one. ``text`` is its human-readable name."""

    path: Path
    text: str


def set_up(setup: Setup) -> Derived | None:
    """The derived projector to load, made now if it is missing; None for the one that was published.

    The first call on a machine takes a second for a trial of its speed, and the first for a projector some seconds
    more. Whatever goes wrong with it is logged only: there always is the original.

    Raises:
        LoadAborted: ``cancel`` was cancelled; nothing is left behind.
        ModelError: the projector as published is damaged.
    """
    derived = _wanted(setup)
    if derived is None or not _has_folder():
        return None

    tried = 0.0

    def on_trial(fraction: float) -> None:
        nonlocal tried
        tried = _TRIAL * fraction
        setup.on_progress(tried)

    if derived == "BF16" and not wins(bf16_speedup(on_progress=on_trial, cancel=setup.cancel)):
        return None
    path = derive(setup.request(derived), lambda done: setup.on_progress(tried + (1 - tried) * done), setup.cancel)
    return Derived(path=path, text=text_of(derived)) if path else None


def prepare(files: ModelFiles, on_progress: Callable[[float], None]) -> Derived | None:
    """:func:`set_up` ahead of the first load, with the settings that it will most likely have.

    What would stop that load is left to it: None comes back.
    """
    if not _is_worth_a_look(files):
        return None
    from ggufvlm.config import EngineConfig
    from ggufvlm.hardware.offload import plan_offload
    from ggufvlm.llama.devices import offload_devices
    from ggufvlm.models.pairing import check_pair
    from ggufvlm.projectors.repair import find_repair

    try:
        plan = plan_offload(files.model, files.mmproj, EngineConfig(), offload_devices(), files.spec)
        report = check_pair(files.model, files.mmproj, thorough=False, allow_untyped=True)
        setup = Setup(
            files=files,
            repair=find_repair(report, files.model),
            on_cpu=plan.projector_on_cpu,
            does_not_fit=plan.refusal is not None,
            on_progress=on_progress,
        )
        return set_up(setup)
    except (ModelError, EngineError) as error:
        logger.info("no projector is prepared: %s", error)
        return None


def find_set_up(setup: Setup) -> Derived | None:
    """As :func:`set_up`, but only what has been made already.

    Raises:
        ModelError: the projector as published is damaged.
    """
    derived = _wanted(setup)
    if derived is None or not _has_folder():
        return None
    path = find_derived(setup.request(derived))
    return Derived(path=path, text=text_of(derived)) if path else None


def _wanted(setup: Setup) -> DerivedType | None:
    if not _is_worth_a_look(setup.files):
        return None
    from ggufvlm.llama.devices import cpu_features

    situation = Situation(
        size=setup.files.mmproj.stat().st_size,
        matrix_type=matrix_type(read_header(setup.files.mmproj)),
        on_cpu=setup.on_cpu,
        does_not_fit=setup.does_not_fit,
        features=cpu_features(),
    )
    return choose(situation, os.environ.get(VARIABLE, ""))


def _is_worth_a_look(files: ModelFiles) -> bool:
    """Before anything is read or loaded."""
    size = files.mmproj.stat().st_size
    return size >= projector_choice.MIN_SIZE and not wants_original(os.environ.get(VARIABLE, ""))


def _has_folder() -> bool:
    """Whether something could be kept. Else speed would be tried anew, and files be hashed, by every process."""
    try:
        folder = projectors_folder()
    except ModelError as error:
        logger.warning("the projector is used as it is: %s", error)
        return False
    return os.access(folder, os.W_OK)
