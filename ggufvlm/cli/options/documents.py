"""The options that choose pages of PDFs and TIFFs, and frames of videos."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from ggufvlm.cli.options.shared import option
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.media.documents.document import Selection

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|min|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class DocumentOptions:
    """Which pages and frames."""

    panel: ClassVar[str] = "Documents and video"

    pages: Annotated[
        str | None, option("--pages", help="Pages of PDFs and TIFFs, such as 1-5,8 or 10-. [all]", metavar="PAGES")
    ] = None
    every: Annotated[
        str | None,
        option("--every", help="Of videos, a frame every so often, such as 2s or 0.5s.", metavar="TIME"),
    ] = None
    frames: Annotated[int | None, option("--frames", help="Of videos, this many frames. [8]", min=1)] = None
    scenes: Annotated[
        bool, option("--scenes", help="Of videos, first a frame after each cut, then more of the longest scenes.")
    ] = False

    def selection(self) -> Selection:
        """What they choose.

        Raises:
            UsageError: they make no sense.
        """
        from ggufvlm.media.documents.document import Selection

        return Selection(
            pages=self.pages,
            every=None if self.every is None else seconds(self.every),
            frames=self.frames,
            scenes=self.scenes,
        )


def seconds(text: str) -> float:
    """``2``, ``2s``, ``500ms``, ``1.5m`` in seconds.

    Raises:
        UsageError: not a time above 0.
    """
    match = _DURATION.fullmatch(text.strip())
    value = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if value <= 0:
        raise UsageError(f"not a time: {text!r}", hint="for example 2s, 0.5s or 1m")
    return value
