"""Odd images beside readers that share no code with ours: the same pixels, where these read them at all."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.decode import decode
from tests.support.odd_images import OddImage, noise, odd_images

pytestmark = pytest.mark.slow

_FIVE_BITS = 8
"""Levels by which readers differ that fill the missing bits with zeros, or do not."""
_MISREAD_BY_SDL = (
    *("4444.bmp", "1555.bmp", "61754.bmp"),  # it passes over the masks of this compression
    *("16 colours of 32 bits", "7 colours of 16 bits"),  # and over the number of the first colour
    *("1 bits, 3 planes", "1 bits, 4 planes"),  # and over the last bits of a row
)


def ours(odd: OddImage) -> NDArray[np.uint8]:
    image = decode(odd.data, odd.name)
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def with_sdl(odd: OddImage) -> NDArray[np.uint8] | None:
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    import pygame

    try:
        surface = pygame.image.load(io.BytesIO(odd.data), odd.name)
    except pygame.error:
        return None
    rgb = pygame.image.tobytes(surface, "RGB")
    return np.frombuffer(rgb, np.uint8).reshape(surface.get_height(), surface.get_width(), 3)


def test_bmp_tga_and_pcx_beside_sdl():
    read = {}
    for odd in odd_images():
        is_common = odd.name.endswith(("bmp", "tga", "pcx")) and not odd.name.startswith(_MISREAD_BY_SDL)
        theirs = with_sdl(odd) if is_common else None
        if theirs is not None:
            read[odd.name] = int(np.abs(ours(odd).astype(int) - theirs).max())
    assert len(read) >= 18
    assert {name: difference for name, difference in read.items() if difference > _FIVE_BITS} == {}


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_beside_tifffile(compression, kind, big):
    """What Pillow decodes for us, and what tifffile decodes for itself."""
    pixels = noise(6).astype(kind) * (257 if kind is np.uint16 else 1)
    for order in "<>":
        file = io.BytesIO()
        options = {"compression": compression, "byteorder": order, "bigtiff": big, "tile": (16, 16) if big else None}
        tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, **options)
        theirs = tifffile.imread(io.BytesIO(file.getvalue()))
        levels = np.rint(theirs.astype(float) * 255 / np.iinfo(kind).max)
        try:
            assert np.abs(ours(OddImage("a.tif", file.getvalue(), noise(6))) - levels).max() <= 1
        except ImageError as error:
            # Pillow's libtiff may be built without a compression: then that is what is said
            assert "this form of TIFF is not read" in str(error)  # noqa: PT017
            assert compression == "zstd"


if sys.version_info >= (3, 11):

    def test_psd_beside_psd_tools():
        import psd_tools

        for odd in odd_images():
            if odd.name.endswith(("psd", "psb")) and "32 bits" not in odd.name:
                theirs = psd_tools.PSDImage.open(io.BytesIO(odd.data)).topil()
                assert isinstance(theirs, PIL.Image.Image), odd.name
                assert np.abs(ours(odd).astype(int) - np.asarray(theirs.convert("RGB"))).max() <= 1, odd.name
