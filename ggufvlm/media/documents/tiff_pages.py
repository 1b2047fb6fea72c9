"""TIFF files of several pages, as scanners and fax machines write them -> pages as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import finish
from ggufvlm.media.decoding.decode_errors import DAMAGE, explained
from ggufvlm.media.decoding.kinds import MediaFile
from ggufvlm.media.decoding.plugins import open_image
from ggufvlm.media.decoding.tiff_directories import page_directories
from ggufvlm.media.decoding.tiff_forms import uncommon_tiff
from ggufvlm.media.documents.page_ranges import numbers_in
from ggufvlm.media.image import Image
from ggufvlm.media.sources.read import read_source

if TYPE_CHECKING:
    import PIL.Image
    from typing_extensions import Self


class Scan:
    """An open TIFF of several pages. For one thread at a time; close it, or use ``with``.

    Attributes:
        n_pages: of it; see :func:`~ggufvlm.media.decoding.tiff_directories.page_directories`.

    Raises:
        ImageError: cut off, or damaged.
    """

    def __init__(self, file: MediaFile) -> None:
        self.name = file.name
        self._data = file.place if isinstance(file.place, bytes) else read_source(file.place)[0]
        with explained(self.name, "TIFF"):
            self._frames = page_directories(self._data)
        self.n_pages = len(self._frames)
        if not self.n_pages:  # it has become another since it was looked at
            raise ImageError(f"{self.name}: the TIFF has no pages")
        self._image = open_image(self._data, self.name)
        self._last: int | None = None

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
        source, frame = f"{self.name} page {number}", self._frames[number - 1]
        if frame == self._last:  # Pillow has turned it upright, and forgotten how it was stored
            self._image.close()
            self._image = open_image(self._data, self.name)
        self._last = frame
        with explained(source, "TIFF"):
            image = self._at(frame)
        return finish(image, source)

    def _at(self, frame: int) -> PIL.Image.Image:
        if frame != self._image.tell():
            self._image.info.pop("icc_profile", None)  # of the page before
        try:
            self._image.seek(frame)
        except DAMAGE:
            return uncommon_tiff(self._data, frame)
        return self._image

    def close(self) -> None:
        """Free it. Safe to call twice."""
        self._image.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
