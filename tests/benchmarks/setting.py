"""What every row of the comparison gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ggufvlm.tools.bench.job import BenchJob
from ggufvlm.tools.bench.results import Ratio


@dataclass(frozen=True, kw_only=True)
class Setting:
    """
    Attributes:
        job: our files, image (already as large as the projector gets it) and number of runs.
        binaries: the folder with llama.cpp's programs.
        n_images: of the row with many of them.
        n_loop: how many of these the shell loop over llama-mtmd-cli is measured with.
        notes: what a row wants to say besides its numbers.
    """

    job: BenchJob
    binaries: Path
    n_images: int = 24
    n_loop: int = 3
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        import sys

        print(f"  {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


Row = Callable[[Setting], list[Ratio]]
