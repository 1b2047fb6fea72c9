"""Encoded bytes -> Image."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.convert import to_rgb, upright
from ggufvlm.media.decoding.decode_errors import TOO_LARGE, explained
from ggufvlm.media.decoding.formats import foreign_kind
from ggufvlm.media.decoding.plugins import open_picture
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded, in pixels: what Pillow itself refuses to exceed (512 MB of RGB)."""

_warnings_lock = threading.Lock()


def decode(data: bytes, source: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a picture file.

    Args:
        data: the whole file.
        source: its name, for messages and for ``Image.source``.
        max_pixels: largest width times height that is decoded.

    Returns:
        The first frame: upright (EXIF orientation), transparency on white, 8-bit RGB.

    Raises:
        ImageError: empty, cut off, damaged, too large, without pixels, or not a picture that can be read.
    """
    if not data:
        raise ImageError(f"{source}: the file is empty")
    foreign = foreign_kind(data)
    if foreign is not None:
        kind, hint = foreign
        raise ImageError(f"{source}: {kind}", hint=hint)
    with open_picture(data, source) as picture:
        return finish(picture, source, max_pixels=max_pixels)


def finish(picture: PIL.Image.Image, source: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Load, check and convert a Pillow picture; upright if it is one as opened from a file.

    Raises:
        ImageError: cut off, damaged, too large or without pixels.
    """
    # Pictures that Pillow derived (crop, convert) have no format: someone chose how they stand.
    name = picture.format
    _check_size(picture, source, max_pixels)
    with explained(source, name or "picture"):
        _load(picture)
        # A decoder may find another size in the data than in the header.
        _check_size(picture, source, max_pixels)
        rgb = to_rgb(upright(picture) if name else picture)
        return Image.from_rgb(rgb.width, rgb.height, rgb.tobytes(), source, original_format=name)


def _check_size(picture: PIL.Image.Image, source: str, max_pixels: int) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageError(f"{source}: the picture is {width}x{height} pixels: there is nothing in it")
    if width * height > max_pixels:
        raise ImageError(
            f"{source}: {width}x{height} is {width * height} pixels, more than the limit of {max_pixels}",
            hint=TOO_LARGE,
        )


def _load(picture: PIL.Image.Image) -> None:
    import PIL.Image

    quiet_up_to = PIL.Image.MAX_IMAGE_PIXELS
    if quiet_up_to is None or picture.width * picture.height <= quiet_up_to:
        picture.load()
        return
    # Above half of its limit, Pillow warns from inside some plugins. Filters are global to the process, so this is
    # done only for such pictures, and by one thread at a time.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        picture.load()
