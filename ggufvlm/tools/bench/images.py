"""Images to measure with: always the same ones, and as many that differ as are needed."""

from __future__ import annotations

from ggufvlm.media import Image

SIDE = 448


def make_image(width: int = SIDE, height: int = SIDE) -> Image:
    """An image of waves in three colours, the same on every machine: whole numbers only."""
    import numpy as np

    y, x = np.indices((height, width))
    waves = [(x * y) >> 6, (3 * x + y) ^ (y >> 1), (x * x + y * y) >> 8]
    pixels = (np.stack(waves, axis=-1) & 255).astype(np.uint8)
    return Image.from_rgb(width, height, pixels.tobytes(), f"<{width}x{height} test image>")


def variant(image: Image, number: int) -> Image:
    """An image that costs as much and is another one: its first pixel has the colour ``number``."""
    rgb = (number & 0xFFFFFF).to_bytes(3, "big") + image.rgb[3:]
    return Image.from_rgb(image.width, image.height, rgb, f"{image.source} #{number}")


def variants(image: Image, count: int, *, first: int = 0) -> list[Image]:
    """``count`` images that differ from each other."""
    return [variant(image, first + index) for index in range(count)]
