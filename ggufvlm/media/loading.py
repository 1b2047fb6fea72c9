"""Anything that is an image -> Image."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard, Union

from ggufvlm.errors import ImageError, ImageWarning
from ggufvlm.media.arrays import SupportsArray, from_array, is_array
from ggufvlm.media.decoding.decode import MAX_PIXELS, decode, finish
from ggufvlm.media.decoding.decode_errors import several_pages
from ggufvlm.media.decoding.headers import decoded_bytes
from ggufvlm.media.decoding.tiff_directories import n_pages
from ggufvlm.media.image import Image
from ggufvlm.media.sources.labels import label
from ggufvlm.media.sources.read import read_source

if TYPE_CHECKING:
    import PIL.Image

ImageSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, Image, "PIL.Image.Image", SupportsArray
]
"""What ``load`` takes."""


def load(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read and decode an image, upright, transparency on white.

    Args:
        source: a path, ``file://`` or http(s) URL, data URI, ``-`` (standard input) or ``clipboard:``; the bytes of an
            image file, or such a file, open for reading bytes; an ``Image``, which is returned as it is; a Pillow
            image; or an array or tensor, see :func:`~ggufvlm.media.arrays.from_array`. A Pillow image as opened from
            a file is turned upright like the file itself, one derived from it (``convert``, ``rotate``) is taken as
            it stands.
        max_pixels: largest width times height that is decoded.

    Warns:
        ImageWarning: it is a TIFF of several pages, of which this is the first.

    Raises:
        ImageError: missing, unreadable, damaged, too large, or not an image, or nothing of the above. The message
            names the source.
    """
    return read(source, max_pixels=max_pixels).decode()


def load_single(source: ImageSource) -> Image:
    """As :func:`load`, where a result about the first page would pass for one about the file.

    Raises:
        ImageError: as :func:`load`, or a TIFF of several pages.
    """
    return _read(source, MAX_PIXELS, takes_first=False).decode()


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image whose file was read, and is not decoded yet.

    Attributes:
        n_bytes: how much memory its pixels take; 0 if only decoding can tell.
        decode: makes the image; raises ImageError as :func:`load` does.
    """

    n_bytes: int
    decode: Callable[[], Image]


def read(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> ReadImage:
    """Do all of :func:`load` but decoding.

    Raises:
        ImageError: missing or unreadable, or nothing that :func:`load` takes.
    """
    return _read(source, max_pixels, takes_first=True)


def _read(source: ImageSource, max_pixels: int, *, takes_first: bool) -> ReadImage:
    if isinstance(source, (str, os.PathLike)):
        data, name = read_source(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "<bytes>"
    elif _is_file(source):
        data, name = _read_file(source)
    else:
        image = _of_memory(source, max_pixels)
        return ReadImage(len(image.rgb), lambda: image)
    if (n := n_pages(data)) > 1:
        if not takes_first:
            raise several_pages(name, n)
        # of this place, not of the caller's, so that Python's filter tells it once for each file
        text = f"{name}: a TIFF of {n} pages, and this is the first: ggufvlm.pages reads them all"
        warnings.warn(text, ImageWarning, stacklevel=1)
    return ReadImage(decoded_bytes(data, name), lambda: decode(data, name, max_pixels=max_pixels))


def _of_memory(source: object, max_pixels: int) -> Image:
    if isinstance(source, Image):
        return source
    if _is_pillow(source):
        return finish(source, _pillow_name(source), max_pixels=max_pixels)
    if is_array(source):
        return from_array(source, max_pixels=max_pixels)
    raise ImageError(
        f"cannot make an image of {type(source).__name__}",
        hint="a path, a URL, bytes, an open file, a Pillow image or an array; or a list of these",
    )


def _is_file(source: object) -> TypeGuard[BinaryIO]:
    return hasattr(source, "read") and not _is_pillow(source)


def _is_pillow(source: object) -> TypeGuard[PIL.Image.Image]:
    # Asks for the package without importing it: whoever passes its objects has imported it already.
    return any(cls.__module__.partition(".")[0] == "PIL" for cls in type(source).__mro__)


def _pillow_name(image: PIL.Image.Image) -> str:
    name = getattr(image, "filename", "")
    return name if isinstance(name, str) and name else "<image>"


def _read_file(file: BinaryIO) -> tuple[bytes, str]:
    """What is left of an open file, and its name."""
    given = getattr(file, "name", None)
    name = label(given) if isinstance(given, str) else "<file>"
    try:
        data = file.read()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ImageError(f"{name}: cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{name}: is open as text", hint='open(path, "rb")')
    if not data:
        raise ImageError(f"{name}: nothing is left to read", hint="file.seek(0) goes back to its beginning")
    return data, name
