"""What FFmpeg makes of a video. The only importer of PyAV."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ImageError, MissingExtra, UsageError
from ggufvlm.media.decoding.decode_errors import DAMAGE
from ggufvlm.media.decoding.kinds import MediaFile
from ggufvlm.media.documents.video_frames import Shown, frame_to_image
from ggufvlm.media.documents.video_scenes import FINEST_STEP, THUMBNAIL, find_cuts
from ggufvlm.media.image import Image
from ggufvlm.media.sources.labels import label

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_SAMPLES = 100_000
"""Most frames that are taken of one file."""

_SEEK_AHEAD = 8.0  # seconds: what lies closer is reached sooner by decoding than by going to a key frame
_TELL_DURATION = ("mp4", "matroska")  # the others' is guessed from the bit rate
_STILL = 1.0  # seconds by which a last frame may stand longer than its like
_MOST_UNREADABLE = 500  # packets without an image, after which a video has none
_COPY_AGAIN = "copy or download it again"


def timestamp(seconds: float) -> str:
    """A time as people write it: ``0:12.0``, ``1:02:03.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def frame_times(name: str, duration: float, *, every: float | None = None, count: int | None = None) -> list[float]:
    """The times of the frames to take, in seconds; see :func:`~ggufvlm.media.documents.video.frames`.

    Args:
        name: the file's, for messages.
        duration: seconds.
        every: seconds between the frames.
        count: this many frames in place of ``every``.

    Raises:
        UsageError: neither or both of ``every`` and ``count``, or one that makes no sense.
    """
    if (every is None) == (count is None):
        raise UsageError("frames are taken either every so many seconds, or as a number of them")
    if every is not None:
        if not 0 < every < math.inf:
            raise UsageError(f"the time between frames must be positive, not {every:g} s")
        n = max(1, math.ceil(duration / every - 1e-9))
        if n > MAX_SAMPLES:
            raise UsageError(f"{name}: a frame every {every:g} s would be {n} frames")
        return [i * every for i in range(n)]
    if not count or not 0 < count <= MAX_SAMPLES:
        raise UsageError(f"the number of frames must lie between 1 and {MAX_SAMPLES}, not {count}")
    return list(dict.fromkeys((i + 0.5) * duration / count for i in range(count)))  # once where it has no length


class ClipReader:
    """An open video. For one thread at a time; close it, or use ``with``.

    Args:
        file: what to open.
        on_progress: called with each frame that is decoded, and each packet that is passed over.

    Attributes:
        duration: seconds.

    Raises:
        ImageError: no video, damaged, or without an image. The message names the file.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, file: MediaFile, on_progress: Callable[[], None] = lambda: None) -> None:
        av = _import(file.name)
        self.name = file.name
        self._on_progress = on_progress
        self._errors: tuple[type[BaseException], ...] = (av.FFmpegError, *DAMAGE)
        self._file = file.place.open("rb") if isinstance(file.place, Path) else io.BytesIO(file.place)
        try:
            with self._explained():
                # from an open file: a name such as concat:a|b would be a protocol to FFmpeg
                self._container = av.open(self._file, mode="r", metadata_errors="replace")
                self._stream = self._video_stream()
                self._stream.thread_type = "AUTO"
                self._time_base = float(self._stream.time_base)
                self._start = (self._stream.start_time or 0) * self._time_base
                self.duration = self._find_duration(av.time_base)
        except BaseException:
            self._file.close()
            raise

    def at(self, times: Iterable[float]) -> Iterator[tuple[float, Image]]:
        """The frames that are shown at these times, in rising order; each frame once.

        Raises:
            ImageError: the file is damaged or cut off before the time.
        """
        with self._explained():
            yield from self._at(times)

    def check(self) -> None:
        """Find out whether there is an image at all: one is decoded, wherever the first good one stands.

        Raises:
            ImageError: no image can be decoded; the message says why.
        """
        with self._explained():
            self._from(0.0)
            why: BaseException | None = None
            for n_read, packet in enumerate(self._told(self._container.demux(self._stream))):
                if n_read > _MOST_UNREADABLE:
                    break
                try:
                    if packet.decode():
                        return
                except self._errors as error:
                    why = why or error
            if why is not None:
                raise why
        raise ImageError(f"{self.name}: no image can be decoded", hint=_COPY_AGAIN)

    def cuts(self) -> list[float]:
        """The times at which new scenes begin, in seconds, without the first.

        Decodes the whole file; B frames are passed over.

        Raises:
            ImageError: the file is damaged.
        """
        with self._explained():
            return find_cuts(self._thumbnails())

    def _thumbnails(self) -> Iterator[tuple[float, Any]]:
        """A tiny image [height, width, RGB] and its time, in order."""
        self._from(0.0)
        codec, step = self._stream.codec_context, 1 / self._rate
        before, codec.skip_frame = codec.skip_frame, "NONREF"
        last = -math.inf
        try:
            for frame in self._decoded():
                time = frame.time - self._start if frame.time is not None else max(0.0, last + step)
                if time - last >= FINEST_STEP:
                    last = time
                    yield time, frame.to_ndarray(format="rgb24", width=THUMBNAIL[0], height=THUMBNAIL[1])
        finally:
            codec.skip_frame = before

    def _at(self, times: Iterable[float]) -> Iterator[tuple[float, Image]]:
        shown, last = self._from(0.0), None
        for time in times:
            if time - shown.time > _SEEK_AHEAD:
                shown = self._from(time)
            frame = shown.advance(time)
            if frame is None:
                raise ImageError(f"{self.name}: no image can be decoded at {timestamp(time)}", hint=_COPY_AGAIN)
            if shown.has_ended and self._is_missing(time, shown.time):
                raise ImageError(f"{self.name}: the file is cut off at {timestamp(shown.time)}", hint=_COPY_AGAIN)
            if last is not None and frame.pts == last:
                continue
            last = frame.pts
            yield time, frame_to_image(frame, self._stream, f"{self.name} at {timestamp(time)}")

    def _decoded(self) -> Iterator[Any]:
        return self._told(self._container.decode(self._stream))

    def _told(self, parts: Iterator[Any]) -> Iterator[Any]:
        """Frames or packets; that they come is told."""
        for part in parts:
            self._on_progress()
            yield part

    def _from(self, time: float) -> Shown:
        """Begin to decode at the last key frame before a time."""
        if time > 0:
            offset = int((time + self._start) / self._time_base)
            self._container.seek(offset, stream=self._stream, backward=True)
        elif self._has_begun:
            self._container.seek(0)
        self._has_begun = True
        return Shown(self._decoded(), self._start, 1 / self._rate, self._errors)

    _has_begun = False

    def _is_missing(self, time: float, last: float) -> bool:
        """Whether the stream should have gone on: the file says itself that it is longer."""
        if not any(name in self._container.format.name for name in _TELL_DURATION):
            return False
        if self._stream.duration is None and len(self._container.streams) > 1:
            return False  # the sound may go on alone
        return time < self.duration and time - last > max(_STILL, 10 / self._rate)

    @property
    def _rate(self) -> float:
        return float(self._stream.average_rate or self._stream.guessed_rate or 25)

    def _video_stream(self) -> Any:
        for stream in self._container.streams.video:
            is_cover = stream.disposition & type(stream.disposition).attached_pic  # of a song: one image
            if not is_cover and stream.codec_context is not None:
                return stream
        only = ", only sound" if self._container.streams.audio else ""
        raise ImageError(f"{self.name}: there are no images in it{only}")

    def _find_duration(self, unit: int) -> float:
        if self._stream.duration:
            return float(self._stream.duration * self._time_base)
        if self._container.duration:
            return float(self._container.duration / unit)
        ends = [p.pts + (p.duration or 0) for p in self._told(self._container.demux(self._stream)) if p.pts is not None]
        self._has_begun = True
        return max(ends, default=0) * self._time_base - self._start

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what PyAV raises into an ImageError of one line."""
        try:
            yield
        except self._errors as error:
            is_permission = isinstance(error, PermissionError)  # FFmpeg's word for a file that it cannot make sense of
            why = "no codec knows it" if is_permission else label(str(getattr(error, "strerror", None) or error))
            raise ImageError(f"{self.name}: damaged video, or a kind that cannot be read ({why})") from error
        except MemoryError as error:
            raise ImageError(f"{self.name}: not enough memory for this video") from error

    def close(self) -> None:
        """Free it. Safe to call twice."""
        self._container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _import(name: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra(f"reading the video {name}", "video") from error
    return av
