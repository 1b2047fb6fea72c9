"""A PDF, a scan of several pages or a video as a row of images that can be counted before they are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.media.documents.pdf import Pdf
from ggufvlm.media.documents.pdf_reader import DEFAULT_DPI
from ggufvlm.media.documents.tiff_pages import Scan
from ggufvlm.media.documents.video import Clip
from ggufvlm.media.documents.video_reader import timestamp
from ggufvlm.media.documents.video_scenes import scene_places
from ggufvlm.media.image import Image

DEFAULT_FRAMES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which images of PDFs, scans and videos are wanted.

    Attributes:
        pages: of PDFs and scans, as in ``1-5,8``; ``None`` is all.
        every: of videos, seconds between frames.
        frames: of videos, a number of frames in place of ``every``; if neither is given, 8.
        scenes: of videos, the frames after each cut come first. ``frames`` of them, or one of each scene and at
            least 8: what is left over is spread over the longest scenes.
        dpi: of pages of PDFs, dots per inch.
    """

    pages: str | None = None
    every: float | None = None
    frames: int | None = None
    scenes: bool = False
    dpi: float = DEFAULT_DPI

    def __post_init__(self) -> None:
        if self.every is not None and self.frames is not None:
            raise UsageError("frames are taken either every so many seconds, or as a number of them")
        if self.every is not None and self.scenes:
            raise UsageError("frames are taken either every so many seconds, or one of each scene")


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF, a scan or a video, and where in it the wanted images are. It is open only while images are made.

    Attributes:
        file: what it is.
        places: numbers of pages, or seconds, of the wanted images.
        n_pages: of a PDF or a scan; ``None`` for a video.
    """

    file: MediaFile
    places: tuple[float, ...]
    dpi: float
    n_pages: int | None = None

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.file.name

    def images(self, places: Sequence[float] | None = None) -> Iterator[tuple[float, Image]]:
        """Make the images of these places, or of all, one at a time. A frame that stands on comes once.

        Raises:
            ImageError: the file is damaged there.
        """
        wanted = self.places if places is None else places
        if self.n_pages is None:
            with Clip(self.file) as clip:
                yield from clip.at(wanted)
            return
        if self.file.kind is FileKind.SCAN:
            with Scan(self.file) as scan:
                for number in wanted:
                    yield number, scan.page(int(number))
            return
        with Pdf(self.file) as pdf:
            for number in wanted:
                yield number, pdf.page(int(number), dpi=self.dpi)

    def label(self, place: float) -> str:
        """What a place is called: ``page 3``, ``0:12.0``."""
        return timestamp(place) if self.n_pages is None else f"page {place:.0f}"

    def fewer(self, places: Sequence[float], n: int) -> list[float]:
        """At most ``n`` of these places: the first pages; frames from the whole length."""
        if n >= len(places):
            return list(places)
        if self.n_pages is not None:
            return list(places[:n])
        return [places[(2 * i + 1) * len(places) // (2 * n)] for i in range(n)]


def open_document(file: MediaFile, selection: Selection) -> Document:
    """Look into a PDF, a scan or a video for the wanted images; makes none of them.

    Raises:
        ImageError: none of these, encrypted, damaged, without pages, or without an image that can be decoded.
        UsageError: a selection that makes no sense for it.
        MissingExtra: the package that reads it is not installed.
    """
    if file.kind is FileKind.PDF:
        with Pdf(file) as pdf:
            return Document(file, tuple(pdf.numbers(selection.pages)), selection.dpi, pdf.n_pages)
    if file.kind is FileKind.SCAN:
        with Scan(file) as scan:
            return Document(file, tuple(scan.numbers(selection.pages)), selection.dpi, scan.n_pages)
    if file.kind is not FileKind.VIDEO:
        raise ImageError(f"{file.name}: neither a PDF, nor a TIFF of several pages, nor a video")
    with Clip(file) as clip:
        clip.check()
        return Document(file, tuple(selected_times(clip, selection)), selection.dpi)


def selected_times(clip: Clip, selection: Selection) -> list[float]:
    """The times of the frames to take of a video, in seconds from its start.

    Raises:
        ImageError: damaged.
        UsageError: a selection that makes no sense for it.
    """
    if selection.every is not None:
        return clip.times(every=selection.every)
    if not selection.scenes:
        return clip.times(count=DEFAULT_FRAMES if selection.frames is None else selection.frames)
    cuts = clip.cuts()
    n = max(DEFAULT_FRAMES, len(cuts) + 1) if selection.frames is None else selection.frames
    return scene_places(cuts, 0.0, clip.duration, n)
