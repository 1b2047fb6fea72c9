"""Video -> frames as images, sampled by time or scene."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ggufvlm.errors import ImageError
from ggufvlm.media.decoding.kinds import FileKind, identify
from ggufvlm.media.documents.video_reader import ClipReader
from ggufvlm.media.image import Image


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


class Clip(ClipReader):
    """An open video. For one thread at a time; close it, or use ``with``."""
