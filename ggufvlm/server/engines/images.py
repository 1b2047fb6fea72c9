"""In the engine's process: the bytes of a request's images -> decoded images, within bounds of memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from ggufvlm.errors import ImageError
from ggufvlm.families import ChatHandler
from ggufvlm.media import Image, resize
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.decode_errors import several_pages
from ggufvlm.media.decoding.headers import decoded_size
from ggufvlm.media.decoding.tiff_directories import n_pages
from ggufvlm.workers.prefetch import Budget

T = TypeVar("T")

TOGETHER = 4
"""All images of a request, or of all requests in flight, may have this many times the pixels of one."""
BYTES_PER_PIXEL = 3
_LOW_SHARE = 4
_DEFAULT_BUDGET = 1024
_DECODERS = 2


class Decoder:
    """Decodes for several threads, two images at a time, so that the engine keeps its cores.

    Attributes:
        budget: memory that decoded images may take.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._turns = threading.Semaphore(_DECODERS)
        self.budget = Budget(TOGETHER * max_pixels * BYTES_PER_PIXEL)

    def count_bytes(self, files: Sequence[bytes]) -> int:
        """The memory that the images will take once they are decoded, by their headers.

        Raises:
            ImageError: one of them is no image or holds several pages, or they are too large; it is named by its place.
        """
        total = 0
        for place, data in enumerate(files, start=1):
            if not data:
                raise ImageError(f"{_name(place)}: the file is empty")
            if (n := n_pages(data)) > 1:
                raise several_pages(_name(place), n)
            width, height = decoded_size(data, _name(place), self._max_pixels)
            if width * height > self._max_pixels:
                raise ImageError(
                    f"{_name(place)}: {width}x{height} is {width * height} pixels, "
                    f"more than this server's limit of {self._max_pixels}"
                )
            total += width * height
        if total > TOGETHER * self._max_pixels:
            raise ImageError(
                f"the images have {total} pixels together, more than this server's limit of "
                f"{TOGETHER * self._max_pixels}"
            )
        return total * BYTES_PER_PIXEL

    def decode(self, data: bytes, place: int) -> Image:
        """Decode the image at this place of the request, counted from 1.

        Raises:
            ImageError: damaged or too large.
        """
        return self.in_turn(lambda: decode(data, _name(place), max_pixels=self._max_pixels))

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do some work on pixels when no more than one other thread does."""
        with self._turns:
            return work()


def _name(place: int) -> str:
    return f"image {place}"


def lowered(image: Image, handler: ChatHandler) -> Image:
    """An image that takes about a quarter of the model's tokens for images, where its size decides about that."""
    facts = handler.facts
    side = facts.patch_size * facts.merge_size
    budget = (facts.image_max_tokens or facts.usual_max_tokens or _DEFAULT_BUDGET) // _LOW_SHARE
    plan = handler.image_plan(image.width, image.height)
    n_tokens = plan.width * plan.height / side**2
    if n_tokens <= budget:
        return image
    scale = math.sqrt(budget / n_tokens)
    width, height = (max(side, int(length * scale) // side * side) for length in (plan.width, plan.height))
    return image if handler.image_plan(width, height) == plan else resize(image, width, height)
