"""Where the scenes of a video begin, and which frames to take of them. Pure.

A cut is a difference between neighbouring frames that stands out from the differences around it, as in PySceneDetect's
AdaptiveDetector (https://www.scenedetect.com/docs/latest/api/detectors.html): a moving camera changes all frames alike,
a cut changes one. Its ratio, window and shortest scene are taken over; the difference is measured in RGB, and its least
value is lower, so that a change of slides is a cut, too. Fades have no frame that stands out, and are not found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL = (64, 36)
"""Width and height in pixels of the images that are compared."""
FINEST_STEP = 1 / 15
"""Seconds between the frames that are compared, at least."""
RATIO = 3.0
LEAST_DIFFERENCE = 8.0  # of 255, mean of all pixels and channels
SHORTEST_SCENE = 0.6  # seconds
_NEIGHBOURS = 2  # on each side
_NEAR = 1.0  # seconds: frames further off say nothing about the movement here
_SETTLED = 0.5  # seconds after a cut at which its scene can be seen as it is


def find_cuts(thumbnails: Iterable[tuple[float, NDArray[np.uint8]]]) -> list[float]:
    """The times at which new scenes begin, in seconds.

    Args:
        thumbnails: times in seconds, rising, and small images of the same size: uint8, [height, width, RGB].
    """
    import numpy as np

    times: list[float] = []
    differences: list[float] = []
    last: NDArray[np.int16] | None = None
    for time, thumbnail in thumbnails:
        image = thumbnail.astype(np.int16)
        if last is not None:
            times.append(time)
            differences.append(float(np.abs(image - last).mean()))
        last = image
    return cuts_in(times, differences)


def cuts_in(times: Sequence[float], differences: Sequence[float]) -> list[float]:
    """The times whose differences stand out.

    Args:
        times: of frames, in seconds, rising.
        differences: of each frame to the one before it, 0 to 255.
    """
    cuts: list[float] = []
    for i, (time, difference) in enumerate(zip(times, differences, strict=True)):
        around = [
            differences[j]
            for j in range(max(0, i - _NEIGHBOURS), min(len(times), i + _NEIGHBOURS + 1))
            if j != i and abs(times[j] - time) <= _NEAR
        ]
        usual = sum(around) / len(around) if around else 0.0
        stands_out = difference >= LEAST_DIFFERENCE and difference >= RATIO * usual
        if stands_out and time - (cuts[-1] if cuts else 0.0) >= SHORTEST_SCENE:
            cuts.append(time)
    return cuts


def scene_places(cuts: Sequence[float], start: float, end: float, n: int) -> list[float]:
    """Times of ``n`` frames of a stretch of video: one soon after each cut, the others where scenes are longest.

    If there are more scenes than frames, the longest ones get them.

    Args:
        cuts: where scenes begin, in seconds; those outside of the stretch do not count.
        start, end: of the stretch, in seconds.
        n: how many.

    Raises:
        UsageError: it is not positive.
    """
    if n < 1:
        raise UsageError(f"the number of frames must be positive, not {n}")
    bounds = [start, *(cut for cut in cuts if start < cut < end), max(start, end)]
    scenes = [(first, last - first) for first, last in itertools.pairwise(bounds)]
    if n < len(scenes):
        scenes = sorted(sorted(scenes, key=lambda scene: -scene[1])[:n])
    shares = _shares(scenes, n)
    return [time for (first, length), k in zip(scenes, shares, strict=True) for time in _spread(first, length, k)]


def _shares(scenes: Sequence[tuple[float, float]], n: int) -> list[int]:
    """How many frames each scene gets: each one, then always the one whose frames stand furthest apart."""
    import heapq

    shares = [1] * len(scenes)
    widest = [(-length, i) for i, (_, length) in enumerate(scenes)]
    heapq.heapify(widest)
    for _ in range(n - len(scenes)):
        i = widest[0][1]
        shares[i] += 1
        heapq.heapreplace(widest, (-scenes[i][1] / shares[i], i))
    return shares


def _spread(start: float, length: float, n: int) -> list[float]:
    settled = min(_SETTLED, length / (2 * n))
    return [start + length * i / n + settled for i in range(n)]
