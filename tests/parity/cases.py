"""Dialogues about images that the reference and ggufvlm both answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

DATA = Path(__file__).parents[1] / "data" / "parity"
N_ANSWER = 16  # greedy tokens

Size = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """A dialogue: in each turn images by size, then a text; the roles alternate, the user begins."""

    name: str
    turns: tuple[tuple[Size | str, ...], ...]
    keeps_embeddings: bool = True

    @property
    def images(self) -> list[Size]:
        return [item for turn in self.turns for item in turn if not isinstance(item, str)]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """In the Hub's chat format, with Pillow images."""
        return [
            {"role": ("user", "assistant")[number % 2], "content": [_entry(item) for item in turn]}
            for number, turn in enumerate(self.turns)
        ]


@dataclass(frozen=True)
class Sizes:
    """Images of a family: one that its processor leaves as it is, and others that it resizes."""

    fitted: Size
    odd: tuple[Size, ...]


def cases(sizes: Sizes) -> list[Case]:
    """``fitted`` compares the graphs alone; the others compare the resizing as well."""
    fitted, odd = sizes.fitted, sizes.odd
    return [
        Case("fitted", ((fitted, "What is in this picture?"),)),  # as the stored references were asked
        *(Case(f"odd-{w}x{h}", (((w, h), "Name the colors."),)) for w, h in odd),
        Case("two", ((fitted, odd[0], "Which of the two is larger?"),)),
        Case("turn", ((fitted, "What is on the left?"), ("A red bar.",), ("And on the right?",)), False),
    ]


def _entry(item: Size | str) -> dict[str, Any]:
    return {"type": "text", "text": item} if isinstance(item, str) else {"type": "image", "image": image(item)}


def image(size: Size) -> PIL.Image.Image:
    """The stored image of this size."""
    with PIL.Image.open(DATA / "images" / f"{size[0]}x{size[1]}.png") as image:
        return image.convert("RGB")


def draw(size: Size) -> PIL.Image.Image:
    """Blocks and waves, so that each patch differs from its neighbours and resizing shows; coarse if large."""
    scale = 8 if min(size) >= 400 else 1
    width, height = size[0] // scale, size[1] // scale
    rng = np.random.default_rng([width, height])
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [128 + 60 * np.sin(x / rng.uniform(3, 23) + y / rng.uniform(3, 23) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = np.stack(planes, axis=-1)
    for _ in range(width * height // 500 + 4):
        left, top = rng.integers(0, width), rng.integers(0, height)
        pixels[top : top + rng.integers(3, 30), left : left + rng.integers(3, 30)] = rng.integers(0, 256, 3)
    small = PIL.Image.fromarray((pixels.round() // 8 * 8).clip(0, 255).astype(np.uint8))
    return small.resize(size, PIL.Image.Resampling.NEAREST)
