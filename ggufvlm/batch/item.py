"""One input of a batch run, and how its name is written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ggufvlm.errors import GGUFVLMError

if TYPE_CHECKING:
    from ggufvlm.batch.inputs.shared_document import Strip
    from ggufvlm.media.documents.document import Selection

Source: TypeAlias = Path | str | bytes
"""A file; a URL or data URI; the bytes of an image file."""


@dataclass(frozen=True, slots=True)
class Part:
    """A page of a PDF or a scan, or a frame of a video.

    Attributes:
        strip: the file, which other inputs take their images from, too.
        place: the page's number, or the frame's time in seconds.
    """

    strip: Strip
    place: float

    @property
    def page(self) -> int | None:
        """The page's number, from 1."""
        return None if self.strip.document.n_pages is None else int(self.place)

    @property
    def time(self) -> float | None:
        """Seconds from the start of the video."""
        return round(self.place, 6) if self.strip.document.n_pages is None else None

    @property
    def fragment(self) -> str:
        """The part as URLs name it: ``page=3`` (RFC 8118), ``t=12.0`` (W3C Media Fragments)."""
        return f"t={self.time}" if self.page is None else f"page={self.page}"


@dataclass(frozen=True, slots=True)
class Whole:
    """PDFs and videos that are asked about as one, as much of them as fits."""

    selection: Selection


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One input, which becomes one row of the output.

    Attributes:
        id: tells it from all others of the run: the user's own, or its name; a second one of that name gets ``#2``.
        path: the human-readable name of its image; ``None`` for bytes.
        sources: its images.
        fields: the columns of its row, for prompt templates.
        prompt, system: its own, in place of the run's.
        below: its place below the folder that was named, if it was found there.
        part: which page or frame of its one source is meant.
        whole: its sources go into one message, with PDFs and videos among them.
        error: why it cannot be asked, if that is known before its image is read.
    """

    id: str
    path: str | None
    sources: tuple[Source, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    system: str | None = None
    below: Path | None = None
    part: Part | None = None
    whole: Whole | None = None
    error: GGUFVLMError | None = None


def leads_out(item: Item, place: Path) -> bool:
    """Whether a place lies, by links, outside of the folder that was named and in which an input was found."""
    source = item.sources[0] if item.sources else None
    if item.below is None or not isinstance(source, Path):
        return False
    root = source.parents[len(item.below.parts) - 1]
    return not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root))


def shown(path: str | os.PathLike[str]) -> str:
    r"""A file name as valid Unicode: bytes that are no UTF-8 are written ``\xff``."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # lone surrogates that never were bytes
        return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def false_on_oserror(question: Callable[[], bool]) -> bool:
    """The answer to a question about a file, such as ``path.exists``; no, if the file may not be looked at."""
    try:
        return question()
    except (OSError, ValueError):  # no permission, a link to itself, too long a name, a character that no name has
        return False


def clean(text: str) -> str:
    """Text as valid Unicode: what is not gets the replacement character."""
    return text.encode("utf-8", "surrogateescape" if _has_escapes(text) else "replace").decode("utf-8", "replace")


def _has_escapes(text: str) -> bool:
    return all("\udc80" <= character <= "\udcff" for character in text if "\ud800" <= character <= "\udfff")
