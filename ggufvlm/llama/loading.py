"""A model and its projector, loaded side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ggufvlm.config import EngineConfig
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.llama.model import Model, OnProgress
from ggufvlm.llama.projector import Projector, TokenBudget


def load_pair(
    model: Path,
    mmproj: Path,
    config: EngineConfig,
    budget: TokenBudget,
    *,
    n_threads: int,
    drops_last_row: bool,
    is_wanted: Callable[[], bool],
    on_progress: OnProgress,
    cancel: CancelToken,
) -> tuple[Model, Projector | None]:
    """Load both files at the same time: each alone keeps only one core and half the disk busy.

    Args:
        model, mmproj: the files.
        config: GPU layers, flash attention.
        budget: bounds of an image's tokens.
        n_threads: CPU threads of the encoder.
        drops_last_row: see :class:`Projector`.
        is_wanted: whether the projector is needed at all; may take its time to answer.
        on_progress: takes the loaded fraction of the language model, 0 to 1.
        cancel: stops both.

    Raises:
        ModelError: llama.cpp refuses the model.
        PairingError: libmtmd refuses the projector, or the pair.
        LoadAborted: ``cancel`` was cancelled.
    """

    def load_projector() -> Projector | None:
        if not is_wanted():
            return None
        skeleton = Model.skeleton(model)
        try:
            return Projector(
                mmproj,
                skeleton,
                config,
                budget,
                n_threads,
                drops_last_row=drops_last_row,
                cancel=cancel,
            )
        except BaseException:
            skeleton.close()
            raise

    with ThreadPoolExecutor(1, "ggufvlm-projector") as pool:
        future = pool.submit(load_projector)
        try:
            n_gpu_layers = -1 if config.n_gpu_layers is None else config.n_gpu_layers
            loaded = Model.load(model, n_gpu_layers=n_gpu_layers, on_progress=on_progress, cancel=cancel)
        except BaseException:
            projector = None if future.exception() is not None else future.result()
            if projector is not None:
                projector.close()
            raise
        try:
            return loaded, future.result()
        except BaseException:
            loaded.close()
            raise
