"""A part of an image as an image of its own."""

from __future__ import annotations

from ggufvlm.errors import UsageError
from ggufvlm.media.image import Image


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
