"""Samples of any width -> levels of 8 bits, a strip at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP = 1 << 20  # pixels


def strips(width: int, height: int) -> Iterator[slice]:
    """The rows of an image, some at a time."""
    n_rows = max(1, _STRIP // width)
    return (slice(top, min(top + n_rows, height)) for top in range(0, height, n_rows))


def in_strips(
    width: int, height: int, n_channels: int, levels: Callable[[slice], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """An image of which each strip is computed alone, so that wide numbers are never those of all of it.

    Args:
        width, height: in pixels.
        n_channels: of the result.
        levels: gives the rows of a strip, ``(rows, width, n_channels)``.

    Returns:
        uint8, ``(height, width, n_channels)``.
    """
    image = np.empty((height, width, n_channels), np.uint8)
    for rows in strips(width, height):
        image[rows] = levels(rows)
    return image


def masked(values: NDArray[np.uint32], masks: Sequence[int]) -> NDArray[np.uint8]:
    """The channels that lie in bits of a number each.

    Args:
        values: uint32, any shape.
        masks: the bits of each channel; of one without bits, all levels are 0.

    Returns:
        uint8, with the channels as last axis.
    """
    channels = np.zeros((*values.shape, len(masks)), np.uint8)
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            top = mask >> shift
            found = ((values & np.uint32(mask)) >> np.uint32(shift)).astype(np.float64)
            channels[..., channel] = (found * 255 / top + 0.5).astype(np.uint8)
    return channels


def unpacked(rows: NDArray[np.uint8], width: int, bits: int) -> NDArray[np.uint8]:
    """The numbers of 1, 2, 4 or 8 bits in rows of bytes, from the highest bit down.

    Args:
        rows: uint8, ``(height, bytes)``.
        width: numbers of a row that are wanted.
        bits: of a number.

    Returns:
        uint8, ``(height, width)``.
    """
    if bits == 8:
        return rows[:, :width]
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    split: NDArray[np.uint8] = (rows[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
    return split.reshape(len(rows), -1)[:, :width]
