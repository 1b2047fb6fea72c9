"""Image -> Image of another size or a part of it, and Image -> file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ggufvlm.errors import OutputError, UsageError
from ggufvlm.media.image import Image
from ggufvlm.media.sources.labels import label

if TYPE_CHECKING:
    import PIL.Image

Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

_SAVED_AS = {
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_THUMBNAIL_QUALITY = 70
_QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90}


def resize(image: Image, width: int, height: int, resample: Resample = "bicubic") -> Image:
    """Scale an image, antialiased as Pillow does. The source stays, the id is new.

    Args:
        image: the image.
        width: columns of the new one, in pixels.
        height: rows of the new one, in pixels.
        resample: the filter, by Pillow's name.

    Raises:
        ValueError: a side is shorter than one pixel, or the filter is unknown.
    """
    from PIL.Image import Resampling

    if width < 1 or height < 1:
        raise ValueError(f"an image needs at least one pixel, got {width}x{height}")
    names = {member.name.lower(): member for member in Resampling}
    if resample not in names:
        raise ValueError(f"unknown resampling filter {resample!r}, use one of {', '.join(sorted(names))}")
    if (width, height) == (image.width, image.height):
        return image
    return _from_pillow(to_pillow(image).resize((width, height), names[resample]), image)


def pad_to_square(image: Image, color: tuple[int, int, int]) -> Image:
    """Centre the image on a square of its longer side, filled with ``color`` (RGB, 0 to 255).

    An odd remainder leaves the wider stripe at the right or at the bottom.
    """
    import PIL.Image

    side = max(image.width, image.height)
    if image.width == image.height:
        return image
    square = PIL.Image.new("RGB", (side, side), color)
    square.paste(to_pillow(image), ((side - image.width) // 2, (side - image.height) // 2))
    return _from_pillow(square, image)


def crop(image: Image, x: int, y: int, width: int, height: int) -> Image:
    """Cut a rectangle out. The source stays; the new image's name says where it lay.

    Args:
        image: the whole.
        x, y: upper left corner of the rectangle, in pixels from that of the image.
        width, height: its sides, in pixels.

    Raises:
        UsageError: it does not lie inside the image.
    """
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > image.width or y + height > image.height:
        raise UsageError(
            f"{width}x{height} at {x},{y} does not lie inside {image.source}, which has {image.width}x{image.height}"
        )
    rows = memoryview(image.rgb)
    starts = (3 * ((y + row) * image.width + x) for row in range(height))
    rgb = b"".join(rows[start : start + 3 * width] for start in starts)
    name = f"{image.source}[{x},{y} {width}x{height}]"
    return Image.from_rgb(width, height, rgb, name, original_format=image.original_format)


def thumbnail(image: Image, side: int) -> bytes:
    """The image as a small JPEG file whose longer side is at most ``side`` pixels."""
    small = to_pillow(image)
    small.thumbnail((side, side))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
    return encoded.getvalue()


def to_pillow(image: Image) -> PIL.Image.Image:
    """The image as a Pillow image of mode RGB."""
    import PIL.Image

    return PIL.Image.frombytes("RGB", (image.width, image.height), image.rgb)


def to_png(image: Image) -> bytes:
    """The image as a PNG file."""
    return _encode(image, "PNG")


def save(image: Image, path: str | os.PathLike[str]) -> None:
    """Write the image to a file, in the format that its ending names.

    Raises:
        UsageError: an ending that names no format for writing.
        OutputError: the file cannot be written.
    """
    target = Path(path)
    name = label(str(target))
    format_name = _SAVED_AS.get(target.suffix.lower())
    if format_name is None:
        raise UsageError(f"{name}: cannot write an image with this ending", hint=f"use one of {' '.join(_SAVED_AS)}")
    try:
        target.write_bytes(_encode(image, format_name))
    except OSError as error:
        raise OutputError(f"{name}: cannot be written ({error.strerror or error})") from error


def _encode(image: Image, format_name: str) -> bytes:
    encoded = io.BytesIO()
    options = {"quality": _QUALITY[format_name]} if format_name in _QUALITY else {}
    to_pillow(image).save(encoded, format_name, **options)
    return encoded.getvalue()


def _from_pillow(pillow: PIL.Image.Image, image: Image) -> Image:
    return Image.from_rgb(
        pillow.width, pillow.height, pillow.tobytes(), image.source, original_format=image.original_format
    )
