"""Forms of TIFF that Pillow refuses, through tifffile: floats in colour, Lab of 16 bits, big-endian BigTIFF.

tifffile and imagecodecs are an optional extra: they are large, and few files need them.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ggufvlm.hardware.system import available_memory
from ggufvlm.media.decoding.convert import upright
from ggufvlm.media.decoding.decode_errors import UnreadForm
from ggufvlm.media.decoding.libtiff_words import WORDS
from ggufvlm.media.decoding.tiff_tags import COMPRESSION, read_tags
from ggufvlm.workers.native_stderr import heard

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

_COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946, 34925, 50000))
"""Those whose decoders give no more than is asked for: none, LZW, Deflate, PackBits, LZMA, Zstandard."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _CIELAB, _ICCLAB = 0, 1, 2, 5, 8, 9
_N_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4, _CIELAB: 3, _ICCLAB: 3}
_MOST_SAMPLES = 16
_REDUCED_OR_MASK = 5
_MOST_THUMBNAILS = 16
_CUSTOMARY = (1.0, 255.0, 65535.0)
_PROFILE, _ORIENTATION = 34675, 274
_OPTIONAL_CODECS = {34925: "lzma", 50000: "zstd", 50001: "webp"}
_ON_ITS_SIDE = (5, 6, 7, 8)
_PREMULTIPLIED, _STRAIGHT = 1, 2
_INSTALL = "pip install 'ggufvlm[formats]'"


def uncommon_tiff(data: bytes, number: int | None = None) -> PIL.Image.Image:
    """Open a TIFF of which Pillow has no decoder.

    Args:
        data: the whole file.
        number: of the image in it, from 0; ``None`` is the first that is no thumbnail and no mask.

    Raises:
        UnreadForm: of a kind that is not read here either, or tifffile is not installed.
        EOFError, struct.error: it is cut off.
    """
    form = read_tags(data).form()
    if find_spec("tifffile") is None or find_spec("imagecodecs") is None:
        raise UnreadForm("TIFF", f"{form}; optional packages do", _INSTALL)
    from ggufvlm.media.decoding.deferred import DeferredImage

    with _told():
        page = _page(data, number)
        if page.compression not in _COMPRESSIONS or page.axes not in ("YX", "YXS", "SYX") or not _is_known(page):
            raise UnreadForm("TIFF", form)
        if any(place + size > len(data) for place, size in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise EOFError
        size, orientation = (page.imagewidth, page.imagelength), page.tags.valueof(_ORIENTATION, default=1)
        if not all(isinstance(number, int) for number in (*size, page.bitspersample, orientation)):
            raise ValueError("a number of its header is none")
        size = size[::-1] if orientation in _ON_ITS_SIDE else size  # upright, as Pillow has its own
        profile = _bytes(page.tags.valueof(_PROFILE))
        return DeferredImage("TIFF", size, lambda: _turned(_decoded(page), orientation), profile)


def _turned(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    image.getexif()[_ORIENTATION] = orientation
    return upright(image)


def lacks_codec(image: PIL.Image.Image) -> bool:
    """Whether a TIFF, opened by Pillow, is packed in a way that this Pillow's libtiff was built without."""
    name = _OPTIONAL_CODECS.get(getattr(image, "tag_v2", {}).get(COMPRESSION, 1))
    return name is not None and not _has_codec(name)


@lru_cache
def _has_codec(name: str) -> bool:
    import PIL.Image

    with heard(WORDS):
        try:
            PIL.Image.new("RGB", (16, 16)).save(io.BytesIO(), "TIFF", compression=name)
        except (OSError, RuntimeError, ValueError):
            return False
    return True


@contextmanager
def _told() -> Iterator[None]:
    """Whatever the library raises for a damaged file becomes one kind of error."""
    try:
        yield
    except (UnreadForm, EOFError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(str(error)) from error


def _is_known(page: Any) -> bool:
    """Whether its samples are numbers of which some are colours."""
    n_colors = _N_COLORS.get(page.photometric, _MOST_SAMPLES + 1)
    return page.dtype is not None and page.dtype.kind in "buif" and n_colors <= page.samplesperpixel <= _MOST_SAMPLES


def _page(data: bytes, number: int | None) -> Any:
    """The image of this number, or the first that is no thumbnail and no mask."""
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else its words go to stderr
    file = tifffile.TiffFile(io.BytesIO(data))
    if number is not None:
        return file.pages[number]
    first = page = file.pages[0]
    for number in range(1, _MOST_THUMBNAILS):
        if not page.subfiletype & _REDUCED_OR_MASK:
            return page
        try:
            page = file.pages[number]
        except IndexError:
            break
    return first


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _decoded(page: Any) -> PIL.Image.Image:
    import numpy as np
    import PIL.Image

    free = available_memory()
    if free is not None and 2 * page.nbytes > free:
        raise MemoryError
    with _told():
        samples = page.asarray(maxworkers=1)
    samples = np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples.reshape(*samples.shape[:2], -1)
    n_colors = _N_COLORS[page.photometric]
    if page.photometric in (_CIELAB, _ICCLAB):
        return PIL.Image.frombytes("LAB", samples.shape[1::-1], _lab(samples[..., :3], page).tobytes())
    kind = page.extrasamples[0] if page.extrasamples else 0
    has_alpha = n_colors in (1, 3) and kind in (_PREMULTIPLIED, _STRAIGHT) and samples.shape[2] > n_colors
    levels = _levels(samples[..., :n_colors], page)
    if page.photometric == _WHITE_IS_ZERO:
        levels = 255 - levels
    if not has_alpha:
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[n_colors]
        return PIL.Image.frombytes(mode, samples.shape[1::-1], levels.tobytes())
    alpha = _levels(samples[..., n_colors : n_colors + 1], page)
    colors = np.repeat(levels, 3, axis=2) if n_colors == 1 else levels
    mode = "RGBa" if kind == _PREMULTIPLIED else "RGBA"
    rgba = PIL.Image.frombytes(mode, samples.shape[1::-1], np.concatenate([colors, alpha], axis=2).tobytes())
    return rgba.convert("RGBA")


def _levels(samples: NDArray[Any], page: Any) -> NDArray[np.uint8]:
    """Numbers of any kind as levels of 8 bits; signed ones and floats are taken as Pillow's mode F is here.

    Args:
        samples: ``(height, width, channels)``.
        page: the image of tifffile.

    Returns:
        uint8, of the same shape.
    """
    import numpy as np

    from ggufvlm.media.decoding.samples import in_strips

    low, high = 0.0, float((1 << page.bitspersample) - 1)
    if samples.dtype.kind in "if":
        low, high = _extremes(samples)
        if low >= 0:
            low, high = 0.0, next((top for top in _CUSTOMARY if high <= top), high)
    scale = 255 / (high - low) if high > low else 0.0
    height, width, n_channels = samples.shape

    def levels(rows: slice) -> NDArray[np.uint8]:
        numbers = np.nan_to_num(samples[rows].astype(np.float64), nan=low, posinf=high, neginf=low)
        return (np.clip((numbers - low) * scale, 0, 255) + 0.5).astype(np.uint8)

    return in_strips(width, height, n_channels, levels)


def _extremes(samples: NDArray[Any]) -> tuple[float, float]:
    import numpy as np

    if samples.dtype.kind == "f":
        samples = np.where(np.isfinite(samples), samples, np.nan)
        if np.isnan(samples).all():
            return 0.0, 1.0
    low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
    return (low, high) if math.isfinite(high - low) else (0.0, 1.0)


def _lab(samples: NDArray[Any], page: Any) -> NDArray[np.uint8]:
    """L from 0 to 255, a and b as signed bytes (TIFF 6.0, section 23; ICC.1, 10.8 for ICCLab).

    Args:
        samples: ``(height, width, 3)``.
        page: the image of tifffile.
    """
    import numpy as np

    from ggufvlm.media.decoding.samples import in_strips

    bits, is_icc = page.bitspersample, page.photometric == _ICCLAB
    height, width, _ = samples.shape

    def levels(rows: slice) -> NDArray[np.uint8]:
        numbers = samples[rows].astype(np.float64)
        if samples.dtype.kind == "f":
            light, ab = numbers[..., :1] * 2.55, numbers[..., 1:]
        else:
            light = numbers[..., :1] / (1 << bits - 8) if is_icc else numbers[..., :1] * 255 / ((1 << bits) - 1)
            ab = numbers[..., 1:] / (1 << bits - 8)
            ab = ab - 128 if is_icc else np.where(ab >= 128, ab - 256, ab)
        whole = np.concatenate([np.clip(light, 0, 255), np.clip(ab, -128, 127)], axis=2)
        rounded: NDArray[np.uint8] = np.floor(np.nan_to_num(whole) + 0.5).astype(np.int16).astype(np.uint8)
        return rounded

    return in_strips(width, height, 3, levels)
