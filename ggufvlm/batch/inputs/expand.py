"""PDFs, scans and videos among the inputs: a row for each page or frame, or one row for the whole file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from ggufvlm.batch.inputs.shared_document import Strip
from ggufvlm.batch.item import Item, Part, Source, Whole, false_on_oserror, shown
from ggufvlm.errors import GGUFVLMError, ImageError, MissingExtra
from ggufvlm.media.decoding.formats import is_document_name, may_be_scan_name
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify, kind_of
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.media.documents.page_ranges import page_numbers
from ggufvlm.media.sources.data_uri import is_data_uri
from ggufvlm.media.sources.read import is_url

_PACKAGES = {"pdf": "pypdfium2", "video": "av"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentReading:
    """How PDFs and videos are taken in.

    Attributes:
        selection: which pages and frames.
        whole: one row for each file, with all of them in one message, in place of a row for each.

    Raises:
        UsageError: a selection that makes no sense for any file.
    """

    selection: Selection = field(default_factory=Selection)
    whole: bool = False

    def __post_init__(self) -> None:
        if self.selection.pages is not None:
            page_numbers(f"{self.selection.pages},1", 1)  # the form alone: how many pages there are is not known yet


def expand(item: Item, reading: DocumentReading, count: Callable[[int], None]) -> Iterator[Item]:
    """The inputs that one input becomes: itself if it is an image, one for each page or frame of a document.

    Several sources of one input, as rows of tables may have them, stay together in one message.

    Args:
        item: the input.
        reading: what to take of PDFs and videos.
        count: told how many there are before the first comes.
    """
    if item.error is not None or not any(map(is_document, item.sources)):
        yield item
    elif reading.whole or len(item.sources) > 1:
        yield replace(item, whole=Whole(reading.selection))
    else:
        yield from _parts(item, reading.selection, count)


def _parts(item: Item, selection: Selection, count: Callable[[int], None]) -> Iterator[Item]:
    try:
        file = media_file(item.sources[0], item.id)
        if file.kind is FileKind.IMAGE:  # only its name, or its label, says otherwise
            count(1)
            yield replace(item, sources=(file.place,))
            return
        document = open_document(file, selection)
    except GGUFVLMError as error:
        count(1)
        yield replace(item, error=error)
        return
    count(len(document.places))
    strip = Strip(document, len(document.places))
    for place in document.places:
        part = Part(strip, place)
        yield replace(item, id=f"{item.id}#{part.fragment}", part=part)


def n_parts(path: Path, reading: DocumentReading) -> int:
    """How many rows a PDF, TIFF or video becomes; one if that cannot be told, which is then a row with an error."""
    if reading.whole or reading.selection.scenes:  # cuts are found by decoding all of it
        return 1
    try:
        return len(open_document(identify(path), reading.selection).places)
    except GGUFVLMError:
        return 1


def is_document(source: Source) -> bool:
    """Whether a source is a PDF, scan or video: files and bytes by their contents; URLs by their endings, if it may."""
    if isinstance(source, bytes):
        return kind_of(source) is not FileKind.IMAGE
    if isinstance(source, str):
        if is_data_uri(source):
            return source[5:20].lower().startswith(("application/pdf", "image/tiff", "video/"))
        return is_url(source) and (is_document_name(path := _path_of_url(source)) or may_be_scan_name(path))
    return kind_of_file(source) is not FileKind.IMAGE


def kind_of_file(path: Path) -> FileKind:
    """What a file is by its contents; an image if it cannot be read, which is told when it is."""
    try:
        return kind_of(path, shown(path)) if false_on_oserror(path.is_file) else FileKind.IMAGE
    except ImageError:
        return FileKind.IMAGE


def media_file(source: Source, name: str) -> MediaFile:
    """A source of an input with the kind of file that it is.

    Raises:
        ImageError: missing, not allowed, not to be downloaded.
    """
    if isinstance(source, bytes):
        return MediaFile(kind_of(source, name), source, name)
    return identify(source)


def require_readers(names: Iterator[str]) -> None:
    """Refuse to begin where a file can be seen to need a package that is not there.

    Raises:
        MissingExtra: the message names the file, the hint both ways out.
    """
    missing = {extra for extra, package in _PACKAGES.items() if importlib.util.find_spec(package) is None}
    for name in names if missing else ():
        if not is_document_name(name):
            continue
        ending = name.rpartition(".")[2]
        extra = "pdf" if ending.lower() == "pdf" else "video"
        if extra in missing:
            error = MissingExtra(f"{name}: reading it", extra)
            error.hint = f"{error.hint}; --exclude '*.{ending}' leaves such files out"
            raise error


def _path_of_url(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
