"""PDF -> pages as images."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.kinds import FileKind, identify
from ggufvlm.media.documents.pdf_reader import DEFAULT_DPI, PdfReader
from ggufvlm.media.image import Image


def pages(source: str | os.PathLike[str], selection: str | None = None, *, dpi: float = DEFAULT_DPI) -> Iterator[Image]:
    """Render pages of a PDF, one at a time.

    Args:
        source: a path, URL, data URI or ``-``.
        selection: as in ``1-5,8``; ``None`` is all.
        dpi: dots per inch; less for pages that would exceed :data:`MAX_PAGE_PIXELS`.

    Raises:
        ImageError: missing, no PDF, encrypted, damaged or without pages. The message names the file.
        UsageError: a selection that makes no sense.
        MissingExtra: pypdfium2 is not installed.
    """
    file = identify(source)
    if file.kind is not FileKind.PDF:
        raise ImageError(f"{file.name}: not a PDF")
    with Pdf(file) as pdf:
        for number in pdf.numbers(selection):
            yield pdf.page(number, dpi=dpi)


class Pdf(PdfReader):
    """An open PDF. From any thread; close it, or use ``with``."""
