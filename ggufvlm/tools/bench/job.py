"""What is to be measured, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ggufvlm.config import EngineConfig
from ggufvlm.media import Image
from ggufvlm.models.files import ModelFiles
from ggufvlm.vlm.answer import SeenImage

Say = Callable[[str], None]
"""Is told what goes on."""

Measured = dict[str, list[float]]
"""What each run measured, by result name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchJob:
    """One model on one machine.

    Attributes:
        config: where and how large; slots and caches are set by what is measured.
        image: the image to look at.
        repeat: runs that count; one before them does not.
        n_tokens: length of the answers.
        n_threads: CPU threads that the engine uses.
        patch_size: side of a patch, in pixels.
    """

    files: ModelFiles
    config: EngineConfig
    image: Image
    repeat: int
    n_tokens: int
    n_threads: int
    patch_size: int

    def runs(self) -> range:
        """All runs; number 0 is the one that does not count."""
        return range(self.repeat + 1)

    def n_patches(self, seen: SeenImage) -> int:
        """Patches of an image as the projector gets it."""
        return (seen.seen_width // self.patch_size) * (seen.seen_height // self.patch_size)


def make_job(files: ModelFiles, config: EngineConfig, image: Image, *, repeat: int, n_tokens: int) -> BenchJob:
    """A job with what the files and the machine say.

    Raises:
        ModelError, PairingError: the files are damaged or do not belong together.
    """
    from ggufvlm.hardware.cpu import default_threads
    from ggufvlm.models.pairing import check_pair

    report = check_pair(files.model, files.mmproj, thorough=False, allow_untyped=True)
    return BenchJob(
        files=files,
        config=config,
        image=image,
        repeat=repeat,
        n_tokens=n_tokens,
        n_threads=config.n_threads or default_threads(),
        patch_size=report.patch_size or 14,
    )
