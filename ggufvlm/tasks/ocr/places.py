"""From files and folders to the pages that are to be read, and their images one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media import Image
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.formats import is_image_name
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify
from ggufvlm.media.documents.pdf import Pdf
from ggufvlm.media.documents.pdf_reader import DEFAULT_DPI
from ggufvlm.media.documents.tiff_pages import Scan
from ggufvlm.media.sources.arguments import ArgumentKind, classify, expand, rejoined
from ggufvlm.media.sources.labels import label
from ggufvlm.media.sources.patterns import natural_key
from ggufvlm.media.sources.read import expand_user, is_dangling, name_of, read_source


@dataclass(frozen=True, kw_only=True, slots=True)
class PagePlace:
    """A page that is to be read.

    Attributes:
        file: the image, the PDF, or the TIFF of several pages.
        number: of the page, from 1; ``None`` for an image.
        layer: the text that the PDF itself carries for the page, if any.
        error: why the file, whose pages nobody knows, cannot be read.
    """

    file: MediaFile
    number: int | None = None
    layer: str | None = None
    error: ImageError | None = None

    @property
    def name(self) -> str:
        """What to call it: ``scan.png``, ``report.pdf page 3``."""
        return self.file.name if self.number is None else f"{self.file.name} page {self.number}"


def find_sources(arguments: Sequence[str]) -> list[str]:
    """Files, URLs and the like as they are; of folders and patterns the images and PDFs, in natural order.

    Raises:
        ImageError: something that does not exist, a folder without either.
    """
    sources: list[str] = []
    for argument in rejoined(arguments):
        folder = expand_user(argument)
        kind = classify(argument)
        if kind is ArgumentKind.PATTERN and folder.is_dir():
            sources += _in_folder(folder, label(argument))
        elif kind is ArgumentKind.TEXT:
            raise ImageError(f"no such file: {label(argument)}", hint="an instruction of your own goes through -p")
        else:
            sources += expand([argument])[0]
    if sources.count("-") > 1:
        raise UsageError("- can be given once: there is one stdin")
    return sources


def _in_folder(folder: Path, name: str) -> list[str]:
    try:
        found = [
            path for path in folder.iterdir() if not path.name.startswith(".") and (path.is_file() or is_dangling(path))
        ]
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    pages = [path for path in found if is_image_name(path.name) or path.suffix.lower() == ".pdf"]
    if not pages:
        hint = "name the file itself if its ending is unusual"
        raise ImageError(f"{name}: no images and no PDFs there", hint=hint)
    return [str(path) for path in sorted(pages, key=natural_key)]


def find_places(sources: Iterable[str], selection: str | None = None) -> list[PagePlace]:
    """All pages, in order. Looks into PDFs, decodes no image. A bad file among good ones is a place with its error.

    Args:
        sources: as :func:`find_sources` gives them.
        selection: of the pages of PDFs and TIFFs, as in ``1-5,8``; ``None`` is all.

    Raises:
        ImageError: each file is missing, encrypted, damaged, without pages, or a video.
        UsageError: a selection that makes no sense, or for which there is no PDF.
        MissingExtra: pypdfium2 is not installed.
    """
    places: list[PagePlace] = []
    for source in sources:
        try:
            places += _pages_of(identify(source), selection)
        except ImageError as error:
            places.append(PagePlace(file=MediaFile(FileKind.IMAGE, b"", name_of(source)), error=error))
    if places and all(place.error for place in places):
        raise next(place.error for place in places if place.error)
    if selection is not None and all(place.number is None for place in places):
        raise UsageError("pages are chosen, and there is no PDF and no TIFF of several pages")
    return places


def _pages_of(file: MediaFile, selection: str | None) -> list[PagePlace]:
    if file.kind is FileKind.VIDEO:
        hint = f"its frames can be asked about: ggufvlm describe {file.name}"
        raise ImageError(f"{file.name}: a video; images and PDFs can be read", hint=hint)
    if file.kind is FileKind.PDF:
        with Pdf(file) as pdf:
            return [PagePlace(file=file, number=n, layer=_layer(pdf, n)) for n in pdf.numbers(selection)]
    if file.kind is FileKind.SCAN:
        with Scan(file) as scan:
            return [PagePlace(file=file, number=n) for n in scan.numbers(selection)]
    return [PagePlace(file=file)]


def _layer(pdf: Pdf, number: int) -> str | None:
    try:
        return pdf.text(number)
    except ImageError:
        return None  # told when its image is made


def images(places: Iterable[PagePlace], dpi: float = DEFAULT_DPI) -> Iterator[tuple[PagePlace, Image | ImageError]]:
    """The image of each page, or the reason why there is none. A document is open as long as its pages follow.

    Args:
        places: pages.
        dpi: of pages of PDFs, dots per inch.
    """
    with ExitStack() as stack:
        document: Pdf | Scan | None = None
        opened: MediaFile | None = None
        for place in places:
            if place.error is not None:
                yield place, place.error
                continue
            try:
                if place.number is None:
                    yield place, _image(place.file)
                    continue
                if document is None or opened is not place.file:
                    stack.close()
                    document = None
                    document = Pdf(place.file) if place.file.kind is FileKind.PDF else Scan(place.file)
                    opened = place.file
                    stack.callback(document.close)
                number = place.number
                yield place, document.page(number, dpi=dpi) if isinstance(document, Pdf) else document.page(number)
            except ImageError as error:
                yield place, error


def _image(file: MediaFile) -> Image:
    data = file.place if isinstance(file.place, bytes) else read_source(file.place)[0]
    return decode(data, file.name)
