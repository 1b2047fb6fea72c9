"""The models of a chat: found, loaded in the background, and how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ggufvlm.cli.open_model import find_files
from ggufvlm.cli.options.shared import ModelOptions, OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.cli.terminal.interruption import Interrupted
from ggufvlm.errors import DownloadError, GGUFVLMError
from ggufvlm.vlm.vlm import VLM

if TYPE_CHECKING:
    from ggufvlm.config import EngineConfig
    from ggufvlm.engine.engine import PromptProgress
    from ggufvlm.models.files import ModelFiles


class ModelLoader:
    """Makes models that tell how far they are: whoever watches at the time is told.

    Attributes:
        share: of the model that is loaded, 0 to 1.
        is_loaded: whether it can be asked without waiting.
        has_failed: whether asking it would raise.
    """

    def __init__(self, options: ModelOptions, config: EngineConfig, output: OutputOptions) -> None:
        self._options, self._config, self._output = options, config, output
        self.share = 0.0
        self.is_loaded = False
        self.has_failed = False
        self.newest: VLM | None = None
        self.spinner: console.Spinner | None = None
        self.on_change: Callable[[], None] = lambda: None

    def find(self, name: str | None) -> ModelFiles:
        """The files of a model, downloaded if need be.

        Raises:
            ModelError, DownloadError, PairingError: see there.
        """
        mmproj = self._options.mmproj if name == self._options.model else None
        try:
            return find_files(replace(self._options, model=name, mmproj=mmproj), quiet=self._output.quiet)
        except Interrupted as interruption:
            if self.newest is None:
                raise
            console.say(str(interruption))
            raise DownloadError("the download was stopped") from None

    def begin(self, files: ModelFiles, *, waits_for_images: bool = False) -> VLM:
        """Begin to load. If it waits for images, :meth:`VLM.expect` has to be called.

        Raises:
            ModelError, PairingError: the files are damaged or do not belong together.
        """
        self.share, self.is_loaded, self.has_failed = 0.0, False, False
        self.newest = vlm = VLM(
            files,
            self._config,
            raw=self._options.raw,
            on_load=self._on_load,
            on_progress=self._on_progress,
            waits_for_images=waits_for_images,
        )
        threading.Thread(target=self._watch, args=(vlm,), daemon=True).start()
        return vlm

    def _watch(self, vlm: VLM) -> None:
        try:
            vlm.wait_until_loaded()
            succeeded = True
        except GGUFVLMError:  # raised again in the thread that asks
            succeeded = False
        if vlm is self.newest:
            self.is_loaded, self.has_failed = succeeded, not succeeded
            self.on_change()

    def _on_load(self, share: float) -> None:
        self.share = share
        if self.spinner is not None:
            self.spinner.on_load(share)
        self.on_change()

    def _on_progress(self, progress: PromptProgress) -> None:
        if self.spinner is not None:
            self.spinner.on_progress(progress)
