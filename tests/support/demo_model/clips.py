"""Short films of blocks in which one thing happens."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.support.scenes import COLORS, RATIOS, Block, Box, Scene, random_scene

KINDS = ("move", "appear", "go", "turn")
_WAYS = {"to the left": (-1, 0), "to the right": (1, 0), "up": (0, -1), "down": (0, 1)}
_MARGIN = 0.02


@dataclass(frozen=True)
class Clip:
    """Scenes one after the other.

    Attributes:
        frames: two to twelve.
        kind: a block moves, appears, goes, or turns into another colour.
        block: which, as it is first seen.
        where: the way it moves, or the colour that it turns to.
    """

    frames: tuple[Scene, ...]
    kind: str
    block: Block
    where: str = ""

    @property
    def caption(self) -> str:
        verb = {"move": f"moves {self.where}", "appear": "appears", "go": "disappears", "turn": f"turns {self.where}"}
        name, background = (f"{_article(word)} {word}" for word in (self.block.name, self.frames[0].background))
        return f"{name[0].upper()}{name[1:]} {verb[self.kind]} on {background} background."


def random_clip(rng: random.Random, width: int, height: int) -> Clip:
    """A clip whose blocks keep their shapes in frames of these sides."""
    n_frames = rng.randint(2, 12)
    kind = rng.choices(KINDS, weights=(4, 2, 2, 2))[0]
    if kind == "move":
        return _moving(rng, n_frames, width / height)
    scene = random_scene(rng, width, height)
    number, change = rng.randrange(len(scene.blocks)), rng.randint(1, n_frames - 1)
    block = scene.blocks[number]
    without = Scene(scene.background, tuple(other for other in scene.blocks if other is not block))
    if kind == "turn":
        used = {scene.background, *(other.color for other in scene.blocks)}
        color = rng.choice([color for color in COLORS if color not in used])
        other = tuple(replace(b, color=color) if b is block else b for b in scene.blocks)
        frames = (scene,) * change + (Scene(scene.background, other),) * (n_frames - change)
        return Clip(frames, kind, block, color)
    states = (without, scene) if kind == "appear" else (scene, without)
    return Clip((states[0],) * change + (states[1],) * (n_frames - change), kind, block)


def _moving(rng: random.Random, n_frames: int, aspect: float) -> Clip:
    background, color, other = rng.sample(list(COLORS), 3)
    way = rng.choice(list(_WAYS))
    across, down = _WAYS[way]
    kind = rng.choice(list(RATIOS))
    wide, high = _size(rng, kind, aspect)
    room = (1 - 2 * _MARGIN - wide, 1 - 2 * _MARGIN - high)
    travel = rng.uniform(0.35, 1.0) * room[0 if across else 1]
    left = _start(rng, room[0], travel * across)
    top = _start(rng, room[1], travel * down)
    boxes: list[Box] = []
    for number in range(n_frames):
        done = number / (n_frames - 1)
        x, y = left + travel * across * done, top + travel * down * done
        boxes.append((x, y, x + wide, y + high))
    still = _beside(rng, other, boxes, aspect) if rng.random() < 0.4 else ()
    frames = tuple(Scene(background, (*still, Block(color, kind, box))) for box in boxes)
    return Clip(frames, "move", frames[0].blocks[-1], way)


def _start(rng: random.Random, room: float, travel: float) -> float:
    """Where a block begins, along one side, so that it ends within the frame."""
    return _MARGIN + rng.uniform(max(0.0, -travel), room - max(0.0, travel))


def _size(rng: random.Random, kind: str, aspect: float) -> tuple[float, float]:
    ratio = rng.uniform(*RATIOS[kind]) / aspect  # of fractions of the frame, not of pixels
    longest = rng.uniform(0.25, 0.45)
    return (longest, longest / ratio) if ratio > 1 else (longest * ratio, longest)


def _beside(rng: random.Random, color: str, boxes: list[Box], aspect: float) -> tuple[Block, ...]:
    """A block that nothing runs over, if there is room for one."""
    kind = rng.choice(list(RATIOS))
    for _ in range(20):
        wide, high = _size(rng, kind, aspect)
        x, y = (_MARGIN + rng.uniform(0, 1 - 2 * _MARGIN - side) for side in (wide, high))
        if all(x + wide < b[0] or b[2] < x or y + high < b[1] or b[3] < y for b in boxes):
            return (Block(color, kind, (x, y, x + wide, y + high)),)
    return ()


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
