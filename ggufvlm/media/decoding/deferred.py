"""An image whose size is known, and whose pixels are made when they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import PIL.Image


class DeferredImage(PIL.Image.Image):
    """A Pillow image that is opened and not decoded, as those of Pillow's own plugins.

    Args:
        format_name: as Pillow calls it.
        size: width and height in pixels.
        make: decodes it.
        icc_profile: empty if there is none.
    """

    def __init__(
        self,
        format_name: str,
        size: tuple[int, int],
        make: Callable[[], PIL.Image.Image],
        icc_profile: bytes = b"",
    ) -> None:
        super().__init__()
        self.format = format_name
        if icc_profile:
            self.info["icc_profile"] = icc_profile
        self._size = size
        self._make: Callable[[], PIL.Image.Image] | None = make

    def load(self) -> Any:
        """Decode it, the first time."""
        if self._make is not None:
            make, self._make = self._make, None
            made = make()
            made.load()
            self.im, self._mode, self._size, self.palette = made.im, made.mode, made.size, made.palette
        return super().load()
