"""The one way in which commands find and open a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ggufvlm.cli.models.first_model import choose_first_model
from ggufvlm.cli.models.transfer import fetcher
from ggufvlm.cli.options.shared import ModelOptions
from ggufvlm.cli.terminal.console import Spinner
from ggufvlm.cli.terminal.interruption import leaving_at_once
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.vlm import VLM

if TYPE_CHECKING:
    from ggufvlm.config import EngineConfig
    from ggufvlm.media import Image
    from ggufvlm.models.files import ModelFiles
    from ggufvlm.vlm.examples import Example


def find_files(model: ModelOptions, *, quiet: bool) -> ModelFiles:
    """The files of the model that the options name, downloaded if need be.

    Raises:
        ModelError, DownloadError, PairingError: see :func:`~ggufvlm.models.resolve.find_model`.
        Interrupted: somebody was asked which model to download, and left.
    """
    chosen = None if model.model or model.yes else choose_first_model()
    return find_model(chosen or model.model, model.mmproj, fetch=fetcher(yes=model.yes or bool(chosen), quiet=quiet))


class OpeningModel:
    """A model that is being loaded in the background.

    Attributes:
        vlm: the model; asking it waits until it is loaded.
    """

    def __init__(self, vlm: VLM, end_loading: Callable[[], None], say: Callable[[str], None]) -> None:
        self.vlm = vlm
        self._end_loading = end_loading
        self._say = say

    def ready(self, images: Sequence[Image] = ()) -> VLM:
        """The model, as soon as it is loaded. What is to be known of it is said on stderr.

        Args:
            images: those of the first question: known ones need no projector. For a model that waits for them.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        self.vlm.expect([*(example.image for example in self.vlm.examples), *images] if images else images)
        self.vlm.wait_until_loaded()
        self._end_loading()
        for text in self.vlm.handler.warnings:
            self._say(f"warning: {text}")
        return self.vlm


@contextmanager
def open_model(
    files: ModelFiles,
    config: EngineConfig,
    spinner: Spinner,
    *,
    raw: bool = False,
    waits_for_images: bool = False,
    examples: tuple[Example, ...] = (),
) -> Iterator[OpeningModel]:
    """Begin to load a model; behind the block it is closed.

    Until :meth:`OpeningModel.ready` returns, Ctrl-C ends the process on the spot, unless the caller handles it.

    Args:
        files: the model's files.
        config: the engine's settings.
        spinner: shows how far loading and, later, reading a prompt are.
        raw: no chat template.
        waits_for_images: the projector is loaded only if the images that ``ready`` gets are not known.
        examples: come before each question.

    Raises:
        ModelError, PairingError: the files are damaged or do not belong together.
    """
    with ExitStack() as stack:
        loading = stack.enter_context(ExitStack())
        loading.enter_context(leaving_at_once(quiet=spinner.output.quiet))
        vlm = VLM(
            files,
            config,
            raw=raw,
            on_load=spinner.on_load,
            on_progress=spinner.on_progress,
            waits_for_images=waits_for_images,
        )
        say = (lambda _text: None) if spinner.output.quiet else spinner.say
        vlm.examples = examples
        yield OpeningModel(stack.enter_context(vlm), loading.close, say)
