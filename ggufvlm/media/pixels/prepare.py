"""An image as the projector wants it: padded, scaled, its patches rolled."""

from __future__ import annotations

from dataclasses import dataclass

from ggufvlm.media.image import Image
from ggufvlm.media.pixels.resize import Resample, pad_to_square, resize

MAX_SQUARE = 8192
"""Longer side, in pixels, beyond which an image is made smaller before it is padded: a strip would become huge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """What is done with the pixels of an image, in this order.

    Attributes:
        pad_color: centre it on a square of this colour (RGB, 0 to 255).
        by_way_of: scale it to this width and height before; where a reference resizes twice, once gives other pixels.
        width, height: scale it to this.
        resample: with this filter.
        roll_patch: side of a patch in pixels: each patch moves on by one in raster order, the last one comes first.
    """

    width: int
    height: int
    pad_color: tuple[int, int, int] | None = None
    by_way_of: tuple[int, int] | None = None
    resample: Resample = "bicubic"
    roll_patch: int | None = None

    @property
    def id(self) -> str:
        """Identity of the plan: images that differ in nothing else must not be taken for each other."""
        pad = "" if self.pad_color is None else f":pad{bytes(self.pad_color).hex()}"
        filtered = "" if self.resample == "bicubic" else f":{self.resample}"
        before = "" if self.by_way_of is None else "{}x{}:".format(*self.by_way_of)
        return (
            f"{before}{self.width}x{self.height}{filtered}{pad}{f':roll{self.roll_patch}' if self.roll_patch else ''}"
        )


def planned_id(image: Image, plan: ImagePlan) -> str:
    """The identity of an image that is made by a plan."""
    return f"{image.id}:{plan.id}"


def prepare(image: Image, plan: ImagePlan) -> Image:
    """The image that the projector gets, made by a plan."""
    if plan.pad_color is not None:
        image = pad_to_square(_at_most(image, MAX_SQUARE), plan.pad_color)
    if plan.by_way_of is not None:
        image = resize(image, *plan.by_way_of, plan.resample)
    image = resize(image, plan.width, plan.height, plan.resample)
    return roll_patches(image, plan.roll_patch) if plan.roll_patch else image


def _at_most(image: Image, side: int) -> Image:
    longer = max(image.width, image.height)
    if longer <= side or image.width == image.height:
        return image
    return resize(image, max(1, image.width * side // longer), max(1, image.height * side // longer))


def roll_patches(image: Image, patch: int, step: int = 1) -> Image:
    """Move each patch on by some places in raster order; those that fall off the end come first.

    Args:
        image: its sides are multiples of ``patch``.
        patch: side of a patch in pixels.
        step: by how many places.

    Raises:
        ValueError: the sides are no multiples of ``patch``.
    """
    import numpy as np

    rows, rest = divmod(image.height, patch)
    columns, more = divmod(image.width, patch)
    if rest or more:
        raise ValueError(f"{image.width}x{image.height} pixels are not made of whole patches of {patch}")
    pixels = np.frombuffer(image.rgb, np.uint8).reshape(rows, patch, columns, patch, 3).swapaxes(1, 2)
    rolled = np.roll(pixels.reshape(rows * columns, patch, patch, 3), step, axis=0)
    rgb = rolled.reshape(rows, columns, patch, patch, 3).swapaxes(1, 2).tobytes()
    return Image.from_rgb(image.width, image.height, rgb, image.source, original_format=image.original_format)
