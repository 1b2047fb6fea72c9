"""A document or video that many inputs take their images from: open while they do, one image in memory at a time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import cast

from ggufvlm.cache.store import digest
from ggufvlm.errors import ImageError
from ggufvlm.media import Image
from ggufvlm.media.decoding.kinds import MediaFile
from ggufvlm.media.documents.document import Document

_KEPT = 3  # images: readers in threads may come one or two places out of order
_PAGES_AHEAD, _SECONDS_AHEAD = 2, 8.0  # what lies farther away is reached sooner by opening the file there
_BLOCK = 1 << 20  # bytes

_Images = Generator["tuple[float, Image]", None, None]


class Strip:
    """The wanted pages or frames of one file. From any thread; images come quickest in order.

    Args:
        document: which file, and which places of it.
        n_users: inputs that will take images; after as many :meth:`leave` the file is closed.
    """

    def __init__(self, document: Document, n_users: int) -> None:
        self.document = document
        self._index = {place: number for number, place in enumerate(document.places)}
        self._lock = threading.RLock()
        self._n_users = n_users
        self._images: _Images | None = None
        self._next = 0  # the first place that was not passed yet
        self._coming: tuple[float, Image] | None = None
        self._last: Image | None = None
        self._kept: OrderedDict[int, Image] = OrderedDict()
        self._content: str | None = None
        self._size: tuple[int, int] | None = None

    def image_id(self, place: float) -> str:
        """64 hexadecimal digits for one place in a file of these bytes.

        Raises:
            ImageError: the file cannot be read.
        """
        with self._lock:
            if self._content is None:
                self._content = content_id(self.document.file)
            return digest(self._content, self.document.label(place), repr(place), str(self.document.dpi))

    def image(self, place: float) -> Image:
        """Make the image of a place. Where a video stands still it is the one before.

        Raises:
            ImageError: the file is damaged there.
        """
        with self._lock:
            number = self._index[place]
            if number not in self._kept:
                self._go_to(number)
            return self._kept[number]

    def first_size(self) -> tuple[int, int]:
        """Width and height in pixels of the first image.

        Raises:
            ImageError: the file is damaged there.
        """
        with self._lock:
            if self._size is None:
                first = self.image(self.document.places[0])
                self._size = (first.width, first.height)
            return self._size

    def leave(self) -> None:
        """One input has its image, or needs none."""
        with self._lock:
            self._n_users -= 1
            if self._n_users <= 0:
                self._close()

    def _go_to(self, number: int) -> None:
        if not self._is_near(number):
            self._begin(number)
        try:
            self._advance(number)
        except ImageError:
            if self._next == number:  # of this place itself
                self._close()
                raise
            self._begin(number)
            self._advance(number)

    def _is_near(self, number: int) -> bool:
        if self._images is None or number < self._next:
            return False
        if self.document.n_pages is not None:
            return number - self._next <= _PAGES_AHEAD
        return self.document.places[number] - self.document.places[self._next] <= _SECONDS_AHEAD

    def _begin(self, number: int) -> None:
        self._close()
        self._images = cast(_Images, self.document.images(self.document.places[number:]))
        self._next = number

    def _advance(self, number: int) -> None:
        """Take images until the one that is shown at this place is known."""
        assert self._images is not None
        while True:
            if self._coming is None:
                self._coming = next(self._images, None)
            at = self._index[self._coming[0]] if self._coming else len(self._index)
            if number < at:  # nothing new is shown until later
                break
            assert self._coming is not None
            self._last, self._coming, self._next = self._coming[1], None, at + 1
            self._keep(at, self._last)
            if at == number:
                return
        if self._last is None:
            raise ImageError(f"{self.document.name}: no image at {self.document.label(self.document.places[number])}")
        self._keep(number, self._last)
        self._next = number + 1

    def _keep(self, number: int, image: Image) -> None:
        self._kept[number] = image
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _close(self) -> None:
        if self._images is not None:
            with closing(self._images):
                self._images = None
        self._coming, self._last = None, None
        self._kept.clear()


def content_id(file: MediaFile) -> str:
    """sha256 of a file, 64 hexadecimal digits.

    Raises:
        ImageError: it cannot be read.
    """
    if isinstance(file.place, bytes):
        return hashlib.sha256(file.place).hexdigest()
    return _of_path(file.place, file.name)


def _of_path(path: Path, name: str) -> str:
    known = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                known.update(block)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    return known.hexdigest()
