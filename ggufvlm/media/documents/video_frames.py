"""Decoded frames in order of time, and a frame as an image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ggufvlm.media.image import Image

MAX_FRAME_PIXELS = 4_194_304
"""Largest image that is made of a frame; larger ones are scaled down."""


class Shown:
    """The frame of a video that a player shows, as time goes on.

    Args:
        decoded: frames in order.
        start: time of the stream's first frame, in seconds.
        step: seconds that a frame without a time is taken to last.
        errors: what a decoder raises for damage.

    Attributes:
        time: when the last decoded frame begins, in seconds.
        has_ended: whether there are no more.
    """

    def __init__(
        self, decoded: Iterator[Any], start: float, step: float, errors: tuple[type[BaseException], ...]
    ) -> None:
        self._decoded = decoded
        self._start = start
        self._step = step
        self._errors = errors
        self._frame: Any = None
        self._next: Any = None
        self.time = 0.0
        self.has_ended = False

    def advance(self, time: float) -> Any:
        """The frame that is shown at ``time``; the first one, if that is later; ``None`` if there is none.

        Raises: what the decoder raises, but not for frames that depend on others from before the start.
        """
        while not self.has_ended and (self._next is None or self._begins(self._next) <= time + 1e-6):
            if self._next is not None:
                self._frame = self._next
            self._next = self._decode()
            if self._next is None:
                self.has_ended = True
            else:
                self.time = self._begins(self._next)
        return self._frame if self._frame is not None else self._next

    def _begins(self, frame: Any) -> float:
        return frame.time - self._start if frame.time is not None else self.time + self._step

    def _decode(self) -> Any:
        return next(self._decoded, None)


def frame_to_image(frame: Any, stream: Any, source: str) -> Image:
    """A frame of a video as an image: upright, with square pixels, 8-bit RGB.

    Args:
        frame: a decoded frame of PyAV.
        stream: the stream that it is of, which knows the shape of its pixels.
        source: the name of the image.
    """
    import numpy as np

    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    width, height = frame.width * (float(ratio) if ratio else 1.0), frame.height
    scale = min(1.0, math.sqrt(MAX_FRAME_PIXELS / (width * height)))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy's
    pixels = np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
    height, width = pixels.shape[:2]
    return Image.from_rgb(width, height, pixels.tobytes(), source, original_format=stream.codec_context.name.upper())
