"""PDFs and videos for the tests: made here, never stored."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import PIL.Image

Timed = Sequence[tuple[float, PIL.Image.Image]]
"""Images with the seconds at which they come on."""

TURNS = {
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}
"""Matrices of a QuickTime track that turn it clockwise."""


def write_pdf(path: Path, images: Sequence[PIL.Image.Image], dpi: float = 150) -> Path:
    """A page for each image: at this resolution it comes back as it is."""
    images[0].save(path, "PDF", save_all=True, append_images=images[1:], resolution=dpi, quality=95)
    return path


def write_clip(
    path: Path, timed: Timed, end: float, *, rate: int = 10, codec: str = "libx264", key_every: int = 25
) -> Path:
    """A video of these images with a constant frame rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = timed[0][1].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.codec_context.bit_rate = 2_000_000
        for number in range(round(end * rate)):
            image = [image for start, image in timed if start <= number / rate + 1e-9][-1]
            frame = av.VideoFrame.from_image(image)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_uneven_clip(path: Path, timed: Timed) -> Path:
    """A video with one frame for each image, at its time: the frame rate varies."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height = timed[0][1].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for start, image in timed:
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = round(start * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A second of silence."""
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(clip: bytes, degrees: int) -> bytes:
    """The same MP4, to be shown turned clockwise, as telephones write it."""
    turned = bytearray(clip)
    matrix = clip.index(b"tkhd") + 44
    turned[matrix : matrix + 36] = struct.pack(">9i", *TURNS[degrees])
    return bytes(turned)


def plain(color: tuple[int, int, int], size: tuple[int, int] = (160, 120)) -> PIL.Image.Image:
    return PIL.Image.new("RGB", size, color)
