"""Images with known answers: one to three coloured blocks in a row on a plain background.

The built-in model was trained on such images, so what it says about a freshly drawn one can be checked exactly.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

COLORS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 90, 200),
    "yellow": (240, 200, 20),
    "purple": (140, 60, 180),
    "orange": (255, 127, 14),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
RATIOS = {"square": (1.0, 1.0), "column": (0.3, 0.5), "bar": (2.0, 3.0)}  # width over height


Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the image."""


@dataclass(frozen=True)
class Block:
    color: str
    kind: str
    box: Box

    @property
    def name(self) -> str:
        return f"{self.color} {self.kind}"


@dataclass(frozen=True)
class Scene:
    background: str
    blocks: tuple[Block, ...]

    @property
    def caption(self) -> str:
        *first, last = [f"{_a(block.color)} {block.name}" for block in self.blocks]
        listed = f"{', '.join(first)} and {last}" if first else last
        return f"{listed[0].upper()}{listed[1:]} on {_a(self.background)} {self.background} background."

    @property
    def words(self) -> set[str]:
        return {self.background, *(word for block in self.blocks for word in (block.color, block.kind))}

    def draw(self, width: int, height: int) -> Image.Image:
        """Edges are smooth, as in a scaled photograph: drawn at twice the size and averaged."""
        image = Image.new("RGB", (2 * width, 2 * height), COLORS[self.background])
        pen = ImageDraw.Draw(image)
        for block in self.blocks:
            left, top, right, bottom = block.box
            corners = (left * 2 * width, top * 2 * height, right * 2 * width - 1, bottom * 2 * height - 1)
            pen.rectangle(corners, fill=COLORS[block.color])
        return image.resize((width, height), Image.Resampling.BOX)


def _a(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def random_scene(rng: random.Random, width: int, height: int) -> Scene:
    """Blocks that keep their shape in an image of these sides."""
    aspect = width / height
    background, *inks = rng.sample(list(COLORS), len(COLORS))
    count = rng.randint(1, 3)
    blocks: list[Block] = []
    while len(blocks) < count:
        color, kind = rng.choice(inks), rng.choice(list(RATIOS))
        if (color, kind) not in {(block.color, block.kind) for block in blocks}:
            blocks.append(Block(color, kind, _place(rng, kind, len(blocks) / count, 1 / count, aspect)))
    return Scene(background, tuple(blocks))


def _place(
    rng: random.Random, kind: str, start: float, room: float, aspect: float
) -> tuple[float, float, float, float]:
    ratio = rng.uniform(*RATIOS[kind])
    wide = min(0.94 * room, 0.94 * ratio / aspect) * rng.uniform(0.6, 1.0)
    high = wide * aspect / ratio
    left = start + rng.uniform(0.02, max(0.021, room - wide - 0.02))
    top = rng.uniform(0.02, max(0.021, 0.98 - high))
    return left, top, left + wide, top + high
