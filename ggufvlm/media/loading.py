"""Anything that is an image -> Image."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, Union

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import MAX_PIXELS, decode, finish
from ggufvlm.media.decoding.headers import decoded_bytes
from ggufvlm.media.image import Image
from ggufvlm.media.sources.read import read_source

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

ImageSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, Image, "PIL.Image.Image", "npt.NDArray[np.uint8]"
]
"""What ``load`` takes."""


def load(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read and decode an image, upright, transparency on white.

    Args:
        source: a path, ``file://`` or http(s) URL, data URI, ``-`` (standard input) or ``clipboard:``; the bytes of a
            image file; an ``Image``, which is returned as it is; a Pillow image; or a numpy array of uint8 RGB
            with shape (height, width, 3). A Pillow image as opened from a file is turned upright like the file
            itself, one derived from it (``convert``, ``rotate``) is taken as it stands.
        max_pixels: largest width times height that is decoded.

    Raises:
        ImageError: missing, unreadable, damaged, too large, or not an image. The message names the source.
        TypeError: nothing of the above.
    """
    return read(source, max_pixels=max_pixels).decode()


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
        ImageError: missing or unreadable.
        TypeError: nothing that :func:`load` takes.
    """
    if isinstance(source, (str, os.PathLike)):
        data, name = read_source(source)
    elif isinstance(source, (bytes, bytearray)):
        data, name = bytes(source), "<bytes>"
    else:
        image = _of_memory(source, max_pixels)
        return ReadImage(len(image.rgb), lambda: image)
    return ReadImage(decoded_bytes(data, name), lambda: decode(data, name, max_pixels=max_pixels))


def _of_memory(source: object, max_pixels: int) -> Image:
    if isinstance(source, Image):
        return source
    if _is_pillow(source):
        return finish(source, _pillow_name(source), max_pixels=max_pixels)
    if _is_array(source):
        return _from_array(source)
    raise TypeError(f"cannot make an image of {type(source).__name__}")


def _is_pillow(source: object) -> TypeGuard[PIL.Image.Image]:
    return _comes_from(source, "PIL")


def _is_array(source: object) -> TypeGuard[npt.NDArray[np.uint8]]:
    return _comes_from(source, "numpy") and hasattr(source, "dtype")


def _comes_from(source: object, package: str) -> bool:
    # Asks for the package without importing it: whoever passes its objects has imported it already.
    return any(cls.__module__.partition(".")[0] == package for cls in type(source).__mro__)


def _pillow_name(image: PIL.Image.Image) -> str:
    name = getattr(image, "filename", "")
    return name if isinstance(name, str) and name else "<image>"


def _from_array(array: npt.NDArray[np.uint8]) -> Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != "uint8" or array.size == 0:
        shape = "x".join(str(side) for side in array.shape)
        raise ImageError(
            f"<array>: {array.dtype} of shape {shape} is no RGB image",
            hint="pass uint8 of shape (height, width, 3)",
        )
    height, width, _ = array.shape
    return Image.from_rgb(width, height, array.tobytes(), "<array>")
