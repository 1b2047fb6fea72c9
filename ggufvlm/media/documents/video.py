"""Video -> frames as images, sampled by time or scene."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify
from ggufvlm.media.documents.decoder import OpenFile, require_package
from ggufvlm.media.documents.video_reader import frame_times
from ggufvlm.media.image import Image

if TYPE_CHECKING:
    from typing_extensions import Self


def frames(
    source: str | os.PathLike[str], every: float | None = None, *, count: int | None = None
) -> Iterator[tuple[float, Image]]:
    """Take frames out of a video, one at a time: ``(seconds from its start, image)``.

    What is taken is the image that a player shows at that time. One that is shown for longer than the distance of
    the samples is taken once, with the first of its times.

    Args:
        source: a path, URL, data URI or ``-``.
        every: seconds between the frames, the first at 0.
        count: this many frames in place of ``every``, in the middles of parts of the same length.

    Raises:
        ImageError: missing, no video, damaged, or without an image. The message names the file.
        UsageError: neither or both of ``every`` and ``count``, or one that is not positive.
        MissingExtra: PyAV is not installed.
    """
    file = identify(source)
    if file.kind is not FileKind.VIDEO:
        raise ImageError(f"{file.name}: not a video")
    with Clip(file) as clip:
        yield from clip.at(clip.times(every=every, count=count))


class Clip(OpenFile):
    """An open video, for one thread at a time. Close it, or use ``with``.

    Attributes:
        duration: seconds.

    Raises: as :func:`frames`.
    """

    def __init__(self, file: MediaFile) -> None:
        require_package("av", f"reading the video {file.name}", "video")
        super().__init__(file)
        self.duration: float = self.facts

    def times(self, *, every: float | None = None, count: int | None = None) -> list[float]:
        """The times of the frames to take, in seconds; see :func:`frames`."""
        return frame_times(self.name, self.duration, every=every, count=count)

    def at(self, times: Iterable[float]) -> Iterator[tuple[float, Image]]:
        """The frames that are shown at these times, in rising order; each frame once.

        Raises:
            ImageError: the file is damaged or cut off before the time, takes too long, or ends its reader.
        """
        left = list(times)

        def begin() -> None:
            self.reopen()
            self.call("at", left)

        self.call("at", left)
        while (found := self.call_or(begin, "next")) is not None:
            time, image = found
            left = [other for other in left if other > time]
            yield time, image

    def check(self) -> None:
        """Find out whether an image of it can be decoded.

        Raises:
            ImageError: none can; the message says why.
        """
        self.call("check")

    def cuts(self) -> list[float]:
        """The times at which new scenes begin, in seconds, without the first. Decodes the whole file.

        Raises:
            ImageError: the file is damaged, or ends its reader.
        """
        cuts: list[float] = self.call("cuts")
        return cuts

    def __enter__(self) -> Self:
        return self
