"""The one form in which images travel through the package: decoded RGB with an identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Image:
    """A decoded image.

    Attributes:
        width: columns, in pixels, at least 1.
        height: rows, in pixels, at least 1.
        rgb: ``width * height * 3`` bytes: row-major RGB, 8 bit a channel, top row first.
        id: sha256 (hex) of size and pixels. Equal images have equal ids, wherever they came from.
        source: what the user gave (path, URL), or a short name such as ``<stdin>``.
        original_format: the encoding it was read from (``"JPEG"``, ``"HEIF"``), None if it never had one.
        is_on_dark: what was transparent is dark grey: on white nearly nothing would have been seen.
        doubt: why it may not show what its file holds, in words; ``None`` for most.
    """

    width: int
    height: int
    rgb: bytes
    id: str
    source: str
    original_format: str | None = None
    is_on_dark: bool = False
    doubt: str | None = None

    @classmethod
    def from_rgb(
        cls,
        width: int,
        height: int,
        rgb: bytes | bytearray | memoryview,
        source: str,
        *,
        original_format: str | None = None,
        is_on_dark: bool = False,
        doubt: str | None = None,
    ) -> Image:
        """Wrap raw pixels and compute their id.

        Args:
            width: columns, in pixels.
            height: rows, in pixels.
            rgb: ``width * height * 3`` bytes, row-major RGB, 8 bit a channel.
            source: where the pixels came from, for messages.
            original_format: the encoding they were read from, if any.
            is_on_dark, doubt: see there.

        Raises:
            ValueError: a side is shorter than one pixel, or ``rgb`` has another length.
        """
        if width < 1 or height < 1:
            raise ValueError(f"an image needs at least one pixel, got {width}x{height}")
        if memoryview(rgb).nbytes != width * height * 3:
            got = memoryview(rgb).nbytes
            raise ValueError(f"{width}x{height} RGB pixels are {width * height * 3} bytes, got {got}")
        pixels = bytes(rgb)
        digest = hashlib.sha256(f"{width}x{height}:".encode())
        digest.update(pixels)
        return cls(
            width=width,
            height=height,
            rgb=pixels,
            id=digest.hexdigest(),
            source=source,
            original_format=original_format,
            is_on_dark=is_on_dark,
            doubt=doubt,
        )

    def __repr__(self) -> str:
        return f"<Image {self.width}x{self.height} {self.source!r} id={self.id[:12]}>"
