"""Videos that are too long for one question: asked about window by window, then summed up.

Each window is one question about its frames, which stand behind their times. The last question is about the answers
alone; if these are too long for the context, parts of them are summed up first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.families.messages import Message
from ggufvlm.media import Image
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.media.documents.document import DEFAULT_FRAMES, Selection
from ggufvlm.media.documents.video import Clip
from ggufvlm.media.documents.video_reader import MAX_SAMPLES, timestamp
from ggufvlm.media.documents.video_scenes import scene_places

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ggufvlm.config import SamplingSettings
    from ggufvlm.vlm.answer import Answer, AnswerStream
    from ggufvlm.vlm.vlm import VLM

MAX_WINDOWS = 10_000
_SHORTEST_REST = 0.25  # of a window: what is left at the end is added to the window before it if it is shorter
_ANSWER_CELLS = 512  # kept free for an answer, at most; and at most a quarter of the context
_MOST_BYTES = 1 << 28  # of the frames of one window


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a video.

    Attributes:
        start, end: seconds from the video's start.
        places: times of the frames that are wanted of it, in seconds.
    """

    start: float
    end: float
    places: tuple[float, ...]

    @property
    def label(self) -> str:
        """As people write it: ``0:00.0-1:00.0``."""
        return f"{timestamp(self.start)}-{timestamp(self.end)}"


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What was said about a window.

    Attributes:
        used: times of the frames that the model saw; a frame that stands on is seen once.
    """

    window: Window
    answer: Answer
    used: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        told = self.answer.to_dict()
        return {
            "start": round(self.window.start, 3),
            "end": round(self.window.end, 3),
            "frames": [round(time, 3) for time in self.used],
            **{key: told[key] for key in ("text", "finish_reason", "stop_reason", "logprobs") if key in told},
        }


def cut_windows(duration: float, length: float) -> list[tuple[float, float]]:
    """Start and end of the windows of a video, in seconds. A short rest belongs to the last one.

    Args:
        duration: of the video, in seconds.
        length: of a window, in seconds.

    Raises:
        UsageError: a length that is not positive, or makes too many windows.
    """
    if not 0 < length < math.inf:
        raise UsageError(f"a window must last longer than 0 s, not {length:g} s")
    if duration / length > MAX_WINDOWS:
        raise UsageError(f"windows of {length:g} s would be {math.ceil(duration / length)}; at most {MAX_WINDOWS}")
    whole = max(1, math.floor(duration / length + 1e-9))
    starts = [i * length for i in range(whole)]
    if duration - whole * length >= _SHORTEST_REST * length:
        starts.append(whole * length)
    return list(zip(starts, [*starts[1:], max(duration, starts[-1])], strict=True))


def plan_windows(clip: Clip, length: float, selection: Selection) -> list[Window]:
    """The windows of a video with the frames to take of each.

    Args:
        clip: the video.
        length: of a window, in seconds.
        selection: ``frames`` are those of one window, 8 by default; with ``scenes`` each cut gets one in any case.

    Raises:
        ImageError: the video is damaged.
        UsageError: a length or a selection that makes no sense.
    """
    windows = cut_windows(clip.duration, length)
    if selection.every is not None:
        times = clip.times(every=selection.every)
        return [Window(start, end, _within(times, start, end)) for start, end in windows]
    n = DEFAULT_FRAMES if selection.frames is None else selection.frames
    if not 0 < n * len(windows) <= MAX_SAMPLES:
        raise UsageError(f"the number of frames must lie between 1 and {MAX_SAMPLES}, not {n * len(windows)}")
    cuts = clip.cuts() if selection.scenes else []
    planned = []
    for start, end in windows:
        n_scenes = 1 + sum(start < cut < end for cut in cuts)
        places = scene_places(cuts, start, end, max(n, n_scenes) if selection.frames is None else n)
        if not selection.scenes:
            places = [start + (i + 0.5) * (end - start) / n for i in range(n)]
        planned.append(Window(start, end, tuple(places)))
    return planned


def _within(times: Sequence[float], start: float, end: float) -> tuple[float, ...]:
    return tuple(time for time in times if start <= time < end) or ((start + end) / 2,)


def watch(
    vlm: VLM,
    file: MediaFile,
    prompt: str,
    *,
    length: float,
    selection: Selection | None = None,
    system: str | None = None,
    prefill: str = "",
    **settings: Unpack[SamplingSettings],
) -> Iterator[WindowAnswer]:
    """Ask about one window after the other.

    Args:
        file: a video, as :func:`~ggufvlm.media.decoding.kinds.identify` knows it.
        prompt: asked about each window.
        length: of a window, in seconds.
        selection: which frames, see :func:`plan_windows`. Fewer are taken where they do not fit into the context.
        system, prefill, settings: as for :meth:`VLM.describe <ggufvlm.VLM.describe>`.

    Raises:
        ImageError: no video, damaged, cut off, only sound.
        UsageError, ContextOverflow, EngineError: see there.
    """
    if file.kind is not FileKind.VIDEO:
        raise ImageError(f"{file.name}: not a video", hint="windows are stretches of a video")
    with Clip(file) as clip:
        for window in plan_windows(clip, length, selection or Selection()):
            frames = _frames(vlm, clip, window, prompt, system, prefill)
            with vlm.stream(_about(frames, prompt, system), prefill=prefill, **settings) as stream:
                answer = stream.answer
            yield WindowAnswer(window, answer, tuple(time for time, _ in frames))


Frames = list[tuple[float, Image]]


def _frames(vlm: VLM, clip: Clip, window: Window, prompt: str, system: str | None, prefill: str) -> Frames:
    """As many frames of a window as fit into the context, from its whole length."""
    first = list(clip.at(window.places[:1]))
    with_one = vlm.measure(_about(first * 2, prompt, system), prefill=prefill)
    room = with_one.limit - _kept_free(vlm, with_one.limit)
    of_one = max(1, with_one.total - vlm.measure(_about(first, prompt, system), prefill=prefill).total)
    n = min(1 + (room - with_one.total + of_one) // of_one, _MOST_BYTES // len(first[0][1].rgb))
    frames = list(clip.at(_thinned(window.places, max(1, n)))) if len(window.places) > 1 else first
    while len(frames) > 1 and vlm.measure(_about(frames, prompt, system), prefill=prefill).total > room:
        frames = _thinned(frames, len(frames) - 1)
    return frames


def _thinned(items: Sequence[Any], n: int) -> list[Any]:
    if n >= len(items):
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * n)] for i in range(n)]


def _about(frames: Frames, prompt: str, system: str | None) -> list[Message]:
    content: list[str | Image] = []
    for time, image in frames:
        content += [f"[{timestamp(time)}]\n", image, "\n"] if len(frames) > 1 else [image]
    return _dialogue([*content, prompt], system)


def _dialogue(content: Sequence[str | Image], system: str | None) -> list[Message]:
    messages = [Message("user", tuple(content))]
    return [Message("system", (system,)), *messages] if system else messages


def _kept_free(vlm: VLM, limit: int) -> int:
    wanted = vlm.sampling.max_tokens
    return min(_ANSWER_CELLS if wanted < 0 else min(wanted, _ANSWER_CELLS), limit // 4)


# -- from the answers to one


@dataclass(frozen=True, slots=True)
class _Note:
    start: float
    end: float
    text: str

    def __str__(self) -> str:
        return f"[{timestamp(self.start)}-{timestamp(self.end)}]\n{self.text.strip()}"


def sum_up(
    vlm: VLM,
    answers: Sequence[WindowAnswer],
    prompt: str,
    *,
    system: str | None = None,
    prefill: str = "",
    **settings: Unpack[SamplingSettings],
) -> AnswerStream:
    """Ask for one answer from those about the windows; no image is looked at again.

    Args:
        answers: from :func:`watch`, all of them.
        prompt: what was asked about each window.
        system, prefill, settings: as for :meth:`VLM.describe <ggufvlm.VLM.describe>`.

    Raises:
        UsageError: there are no answers.
        ContextOverflow: one answer alone is too long for the context.
    """
    if not answers:
        raise UsageError("there is nothing to sum up")
    notes = [_Note(item.window.start, item.window.end, item.answer.text) for item in answers]
    notes = _condensed(vlm, notes, prompt, system)
    return vlm.stream(_dialogue([_summary_prompt(notes, prompt)], system), prefill=prefill, **settings)


def _summary_prompt(notes: Sequence[_Note], prompt: str) -> str:
    seen = "\n\n".join(map(str, notes))
    return (
        f"These notes say what is seen in each part of one video, in the order of time:\n\n{seen}\n\n"
        f"From these notes alone, answer for the whole video: {prompt}"
    )


def _condensed(vlm: VLM, notes: list[_Note], prompt: str, system: str | None) -> list[_Note]:
    """Notes that fit into one question: those of each half are summed up until they do."""
    size = vlm.measure(_dialogue([_summary_prompt(notes, prompt)], system))
    if len(notes) == 1 or size.total <= size.limit - _kept_free(vlm, size.limit):
        return notes
    middle = len(notes) // 2
    halves = [_condensed(vlm, half, prompt, system) for half in (notes[:middle], notes[middle:])]
    shorter = []
    for half in halves:
        text = half[0].text
        if len(half) > 1:
            text = vlm.stream(_dialogue([_summary_prompt(half, prompt)], system), max_tokens=_ANSWER_CELLS).answer.text
        shorter.append(_Note(half[0].start, half[-1].end, text))
    return shorter
