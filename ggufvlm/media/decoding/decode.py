"""Encoded bytes -> Image."""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ImageError
from ggufvlm.hardware.system import available_memory
from ggufvlm.media.decoding.convert import ON_DARK, to_rgb, upright
from ggufvlm.media.decoding.decode_errors import INCOMPLETE, TOO_LARGE, explained
from ggufvlm.media.decoding.formats import foreign_kind
from ggufvlm.media.decoding.jpeg_scans import jpeg_scans
from ggufvlm.media.decoding.libtiff_words import heard_libtiff
from ggufvlm.media.decoding.plugins import SEEN_PART, open_image
from ggufvlm.media.decoding.square_pixels import square_size
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 1 << 28
"""Largest image that is decoded, in pixels: phones make 200 million. One takes 2.1 GB while it is decoded."""

_MOST_PIXELS_A_BYTE = {"GIF": 3_000, "PNG": 10_000}
"""What the best compression reaches: a code of LZW has 12 bits, its string up to 3,840 pixels; DEFLATE makes 1032 bytes
of one, each with eight pixels of 1 bit. The others have no bound that would help."""
_SUBFILE_TYPE, _REDUCED, _MASK = 254, 1, 4  # of TIFF
_MOST_THUMBNAILS = 16
_STRIP = 4_000_000  # pixels
_BYTES_A_PIXEL = 8  # while one is decoded: Pillow's four, twice if it is turned, or once and the three that are kept
_HARMLESS = 16_000_000  # pixels; fewer take no memory worth a word, and a frame of a GIF may be smaller than its screen

_warnings_lock = threading.Lock()


def decode(data: bytes, source: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image file.

    Args:
        data: the whole file.
        source: its name, for messages and for ``Image.source``.
        max_pixels: largest width times height that is decoded.

    Returns:
        The first frame: upright (EXIF orientation), transparency on white, 8-bit RGB.

    Raises:
        ImageError: empty, cut off, damaged, too large, without pixels, or not an image that can be read.
    """
    if not data:
        raise ImageError(f"{source}: the file is empty")
    foreign = foreign_kind(data)
    if foreign is not None:
        kind, hint = foreign
        raise ImageError(f"{source}: {kind}", hint=hint)
    scans = jpeg_scans(data)
    with open_image(scans.data if scans else data, source) as image:
        pass_thumbnails(image, source)
        _check_size(image, source, max_pixels)
        _check_content(image, len(data), source)
        if scans is not None:
            _check_memory(image, source)
            with explained(source, "JPEG"):
                _load(image)
                if scans.are_cut_off(image):
                    raise EOFError
        return finish(image, source, max_pixels=max_pixels, is_last=True)


def pass_thumbnails(image: PIL.Image.Image, source: str) -> None:
    """Go to the first image of a TIFF that is no thumbnail and no mask: cameras and scanners put these in front.

    Args:
        image: as opened from a file of any format.
        source: its name, for messages.

    Raises:
        ImageError: there is none.
    """
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None or not _is_beside(tags):
        return
    thumbnail = f"{image.width}x{image.height}"
    with explained(source, "TIFF"):
        for frame in range(1, min(getattr(image, "n_frames", 1), _MOST_THUMBNAILS)):
            image.seek(frame)
            if not _is_beside(image.tag_v2):  # type: ignore[attr-defined]
                return
    raise ImageError(
        f"{source}: a camera raw file, of which only a thumbnail of {thumbnail} can be read",
        hint="convert it to PNG or JPEG first",
    )


def _is_beside(tags: Mapping[int, Any]) -> bool:
    kind = tags.get(_SUBFILE_TYPE, 0)
    return isinstance(kind, int) and bool(kind & (_REDUCED | _MASK))


def _check_content(image: PIL.Image.Image, n_bytes: int, source: str) -> None:
    """Refuse a file that is too short for its pixels, before memory is taken for them."""
    most = _MOST_PIXELS_A_BYTE.get(image.format or "", math.inf) * n_bytes
    if image.width * image.height > max(most, _HARMLESS):
        raise ImageError(
            f"{source}: the file is cut off ({n_bytes} bytes cannot hold {image.width}x{image.height} pixels)",
            hint=INCOMPLETE,
        )


def _check_memory(image: PIL.Image.Image, source: str) -> None:
    """Refuse what would take all memory: the system ends a process for that, without a word."""
    n_pixels = max(image.width * image.height, math.prod(square_size(image, MAX_PIXELS)))
    n_bytes = n_pixels * _BYTES_A_PIXEL
    if n_bytes <= _HARMLESS * _BYTES_A_PIXEL:
        return
    available = available_memory()
    if available is not None and n_bytes > available:
        raise ImageError(
            f"{source}: {image.width}x{image.height} pixels take {n_bytes / 1e9:.1f} GB to decode, and"
            f" {available / 1e9:.1f} GB of memory are free",
            hint=TOO_LARGE,
        )


def finish(image: PIL.Image.Image, source: str, *, max_pixels: int = MAX_PIXELS, is_last: bool = False) -> Image:
    """Load, check and convert a Pillow image; upright if it is one as opened from a file.

    Args:
        image: a Pillow image of any mode.
        source: its name, for messages and for ``Image.source``.
        max_pixels: largest width times height that is decoded.
        is_last: nobody uses the image after this, so that it is closed as soon as its pixels are elsewhere.

    Raises:
        ImageError: cut off, damaged, too large or without pixels.
    """
    # Images that Pillow derived (crop, convert) have no format: someone chose how they stand.
    name = image.format
    _check_size(image, source, max_pixels)
    _check_memory(image, source)
    with explained(source, name or "image"):
        stored, size = image.size, square_size(image, max_pixels)
        with heard_libtiff(source) if name == "TIFF" else nullcontext():
            _load(image)
        # A decoder may find another size in the data than in the header.
        _check_size(image, source, max_pixels)
        turned = upright(_seen_part(image)) if name else image
        if is_last and turned is not image:
            image.close()
        rgb = to_rgb(turned)
        del turned
        rgb = rgb if size == stored else rgb.resize(size)
        is_on_dark = bool(rgb.info.get(ON_DARK))
        return Image.from_rgb(rgb.width, rgb.height, _pixels(rgb), source, original_format=name, is_on_dark=is_on_dark)


def _pixels(rgb: PIL.Image.Image) -> bytes:
    """What ``tobytes`` gives, in strips: of a large image that would take the memory of two."""
    if rgb.width * rgb.height <= _HARMLESS:
        return rgb.tobytes()
    pixels, n_rows = io.BytesIO(), max(1, _STRIP // rgb.width)
    for top in range(0, rgb.height, n_rows):
        pixels.write(rgb.crop((0, top, rgb.width, min(top + n_rows, rgb.height))).tobytes())
    return pixels.getvalue()


def _seen_part(image: PIL.Image.Image) -> PIL.Image.Image:
    part = image.info.get(SEEN_PART)
    return image if part is None else image.crop(part)


def _check_size(image: PIL.Image.Image, source: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{source}: the image is {width}x{height} pixels: there is nothing in it")
    if width * height > max_pixels:
        raise ImageError(
            f"{source}: {width}x{height} is {width * height} pixels, more than the limit of {max_pixels}",
            hint=TOO_LARGE,
        )


def _load(image: PIL.Image.Image) -> None:
    import PIL.Image

    quiet_up_to = PIL.Image.MAX_IMAGE_PIXELS
    if quiet_up_to is None or image.width * image.height <= quiet_up_to:
        image.load()
        return
    # Above half of its limit, Pillow warns from inside some plugins. Filters are global to the process, so this is
    # done only for such images, and by one thread at a time.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        image.load()
