"""PDF -> pages as images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError, ImageWarning
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify
from ggufvlm.media.documents.decoder import OpenFile, require_package
from ggufvlm.media.documents.page_ranges import numbers_in
from ggufvlm.media.documents.pdf_reader import DEFAULT_DPI
from ggufvlm.media.documents.tiff_pages import Scan
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    from typing_extensions import Self


def pages(source: str | os.PathLike[str], selection: str | None = None, *, dpi: float = DEFAULT_DPI) -> Iterator[Image]:
    """Make images of the pages of a PDF, or of a TIFF that has several, one at a time.

    Args:
        source: a path, URL, data URI or ``-``.
        selection: as in ``1-5,8``; ``None`` is all.
        dpi: dots per inch of pages of a PDF; less for those that would exceed :data:`MAX_PAGE_PIXELS`.

    Raises:
        ImageError: missing, neither of both, encrypted, damaged or without pages. The message names the file.
        UsageError: a selection that makes no sense.
        MissingExtra: pypdfium2 is not installed.
    """
    file = identify(source)
    if file.kind is FileKind.SCAN:
        with Scan(file) as scan:
            yield from map(scan.page, scan.numbers(selection))
        return
    if file.kind is not FileKind.PDF:
        raise ImageError(f"{file.name}: not a PDF")
    with Pdf(file) as pdf:
        for number in pdf.numbers(selection):
            yield pdf.page(number, dpi=dpi)


class Pdf(OpenFile):
    """An open PDF, for use from any thread. Close it, or use ``with``.

    Attributes:
        n_pages: how many it has.

    Raises: as :func:`pages`.
    """

    def __init__(self, file: MediaFile) -> None:
        require_package("pypdfium2", f"reading the PDF {file.name}", "pdf")
        super().__init__(file)
        self.n_pages: int = self.facts

    def numbers(self, selection: str | None = None) -> list[int]:
        """The numbers of the selected pages, from 1; see :func:`~.page_ranges.numbers_in`."""
        return numbers_in(self.name, selection, self.n_pages)

    def page(self, number: int, *, dpi: float = DEFAULT_DPI) -> Image:
        """Render one page; see :meth:`.PdfReader.page`.

        Args:
            number: from 1.
            dpi: dots per inch, at most.

        Warns:
            ImageWarning: it is blank although there is something on it, or an XFA form.

        Raises:
            ImageError: the page is damaged, takes too long, or ends its reader.
        """
        image: Image = self.call("page", number, dpi)
        if image.doubt:
            warnings.warn(f"{image.source}: {image.doubt}", ImageWarning, stacklevel=2)
        return image

    def text(self, number: int) -> str | None:
        """The text that a page carries besides its image; see :meth:`.PdfReader.text`.

        Args:
            number: from 1.

        Raises:
            ImageError: the page is damaged, takes too long, or ends its reader.
        """
        text: str | None = self.call("text", number)
        return text

    def __enter__(self) -> Self:
        return self
