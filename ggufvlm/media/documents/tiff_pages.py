"""TIFF files of several pages, as scanners and fax machines write them -> pages as images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import finish
from ggufvlm.media.decoding.decode_errors import explained
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.media.decoding.plugins import open_image
from ggufvlm.media.documents.page_ranges import numbers_in
from ggufvlm.media.image import Image
from ggufvlm.media.sources.read import read_source, read_start

if TYPE_CHECKING:
    from typing_extensions import Self

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE_TYPE = 254
_REDUCED, _MASK = 1, 4  # bits of the subfile type: a thumbnail, a transparency mask


def is_scan(file: MediaFile) -> bool:
    """Whether a file begins like a TIFF, which may hold several pages.

    Raises:
        ImageError: it cannot be read.
    """
    if file.kind is not FileKind.IMAGE:
        return False
    head = read_start(file.place, file.name, 4) if isinstance(file.place, Path) else file.place[:4]
    return head in _SIGNATURES


class Scan:
    """An open TIFF. For one thread at a time; close it, or use ``with``.

    Attributes:
        n_pages: images in it, thumbnails and masks aside.

    Raises:
        ImageError: damaged, or without pages.
    """

    def __init__(self, file: MediaFile) -> None:
        self.name = file.name
        data = file.place if isinstance(file.place, bytes) else read_source(file.place)[0]
        self._image = open_image(data, self.name)
        with explained(self.name, "TIFF"):
            self._frames = [n for n in range(getattr(self._image, "n_frames", 1)) if self._is_page(n)]
        self.n_pages = len(self._frames)
        if not self.n_pages:
            self.close()
            raise ImageError(f"{self.name}: the TIFF has no pages")

    def _is_page(self, frame: int) -> bool:
        self._image.seek(frame)
        kind = getattr(self._image, "tag_v2", {}).get(_SUBFILE_TYPE, 0)
        return not (isinstance(kind, int) and kind & (_REDUCED | _MASK))

    def numbers(self, selection: str | None = None) -> list[int]:
        """The numbers of the selected pages, from 1; see :func:`~.page_ranges.numbers_in`."""
        return numbers_in(self.name, selection, self.n_pages)

    def page(self, number: int) -> Image:
        """One page, upright.

        Args:
            number: from 1.

        Raises:
            ImageError: the page is damaged or too large.
        """
        source = f"{self.name} page {number}" if self.n_pages > 1 else self.name
        with explained(source, "TIFF"):
            self._image.seek(self._frames[number - 1])
        return finish(self._image, source)

    def close(self) -> None:
        """Free it. Safe to call twice."""
        self._image.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
