"""Which side of a page is up: images turned, and how sure a model is of what it reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ggufvlm.media import Image

if TYPE_CHECKING:
    from ggufvlm.vlm.answer import Answer

TURNS = (0, 90, 180, 270)
SURE = 0.9
"""Mean probability of a token (geometric) above which a page is taken to stand upright without a look at its sides."""
PROBE_TOKENS = 64
"""Words enough to tell whether a page makes sense."""


def best_turn(image: Image, upright: Answer, ask: Callable[[Image], Answer]) -> int:
    """The side on which a model is most sure of its first words, in degrees clockwise; 0 if no other is better.

    Args:
        image: the page as it came.
        upright: what was read of it so.
        ask: reads the beginning of a page.
    """
    scores = {0: confidence(upright, PROBE_TOKENS) or 0.0}
    for turn in TURNS[1:]:
        scores[turn] = confidence(ask(turned(image, turn))) or 0.0
    return max(TURNS, key=lambda turn: scores[turn])


def confidence(answer: Answer, n: int | None = None) -> float | None:
    """Geometric mean of the probabilities of the first ``n`` tokens, or of all; ``None`` if nothing was said."""
    logprobs = [token.logprob for token in (answer.logprobs or ())[:n]]
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else None


def is_blank(image: Image) -> bool:
    """Whether all pixels are the same."""
    return image.rgb == image.rgb[:3] * (image.width * image.height)


def turned(image: Image, degrees: int) -> Image:
    """An image turned clockwise by a multiple of 90 degrees."""
    if degrees % 360 == 0:
        return image
    import numpy as np

    pixels = np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)
    pixels = np.ascontiguousarray(np.rot90(pixels, -degrees // 90))
    height, width = pixels.shape[:2]
    return Image.from_rgb(width, height, pixels.tobytes(), image.source, original_format=image.original_format)
