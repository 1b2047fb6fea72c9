"""Small JPEGs of images, for pages that show many."""

from __future__ import annotations

import io
import os

from ggufvlm.media.loading import load
from ggufvlm.media.pixels.resize import to_pillow

_QUALITY = 70


def thumbnail(source: str | os.PathLike[str] | bytes, side: int = 256) -> bytes:
    """The image as a JPEG file whose longer side is at most ``side`` pixels.

    Raises:
        ImageError: it cannot be read.
    """
    image = to_pillow(load(source))
    image.thumbnail((side, side))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY, optimize=True)
    return encoded.getvalue()
