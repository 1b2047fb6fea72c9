"""Training rows: pixels as Qwen2-VL takes them, token ids, and what covers each cell of an image."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from tests.support.demo_model.clips import random_clip
from tests.support.demo_model.questions import Dialogue, about_clip, about_scene, about_scenes
from tests.support.scenes import COLORS, RATIOS, Scene, random_scene

IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
PATCH, MERGE, FRAMES = 14, 2, 2  # pixels; patches of a token along one side; frames of a token
SIDE = PATCH * MERGE
MIN_TOKENS, MAX_TOKENS = 16, 42  # of an image
MAX_FRAME_TOKENS = 25  # of two frames of a clip
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # CLIP's
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
THINGS = ("nothing", *RATIOS)
_SIDES = range(3 * SIDE, 10 * SIDE + 1, SIDE)
_UNSEEN = -100

Grid = tuple[int, int, int]
"""Patches of a film: in time, from top to bottom, from left to right."""


@dataclass
class Row:
    """One dialogue.

    Attributes:
        images, clips: patches [n, 1176] of each, with its grid.
        ids, labels: token ids; the same in answers, -100 elsewhere.
        kinds: 0 for text, 1 for a token of an image, 2 for one of a clip.
        cells: of each image token the thing that covers it, its colour and its box.
    """

    images: list[tuple[NDArray[np.float32], Grid]] = field(default_factory=list)
    clips: list[tuple[NDArray[np.float32], Grid]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    cells: list[tuple[float, ...]] = field(default_factory=list)


class Writer:
    """Writes one row in the words of the model's chat template."""

    def __init__(self, tokenizer: Tokenizer, *, system: bool = True) -> None:
        self.row = Row()
        self._tokenizer = tokenizer
        if system:
            self._put("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")

    def ask(self, parts: Sequence[str | tuple[str, Grid]]) -> None:
        """A turn of the user: texts, and images or clips by their pad and grid."""
        self._put("<|im_start|>user\n")
        for part in parts:
            if isinstance(part, str):
                self._put(part)
                continue
            pad, grid = part
            self._put("<|vision_start|>")
            n_tokens = math.prod(grid) // MERGE**2
            self._extend([self._tokenizer.token_to_id(pad)] * n_tokens, kind=1 if pad == IMAGE_PAD else 2)
            self._put("<|vision_end|>")
        self._put("<|im_end|>\n<|im_start|>assistant\n")

    def answer(self, text: str) -> None:
        """A turn of the model, which it learns."""
        self._put(f"{text}<|im_end|>", learns=True)
        self._put("\n")

    def _put(self, text: str, *, learns: bool = False) -> None:
        self._extend(self._tokenizer.encode(text, add_special_tokens=False).ids, learns=learns)

    def _extend(self, ids: list[int], *, learns: bool = False, kind: int = 0) -> None:
        self.row.ids += ids
        self.row.labels += ids if learns else [_UNSEEN] * len(ids)
        self.row.kinds += [kind] * len(ids)


def rows(seed: int, tokenizer: Tokenizer) -> Iterator[Row]:
    """Fresh rows without end."""
    rng = random.Random(seed)
    while True:
        draw = rng.random()
        make = _one if draw < 0.55 else _several if draw < 0.75 else _clip
        yield make(rng, Writer(tokenizer, system=rng.random() < 0.8))


def _one(rng: random.Random, writer: Writer) -> Row:
    scene, image = _image(rng, MAX_TOKENS)
    _talk(rng, writer, _add(writer, scene, image), about_scene(scene, rng))
    return writer.row


def _several(rng: random.Random, writer: Writer) -> Row:
    n_images = 3 if rng.random() < 0.1 else 2
    made = [_image(rng, rng.choice((25, MAX_TOKENS))) for _ in range(n_images)]
    marks = [_add(writer, scene, image) for scene, image in made]
    scenes = [scene for scene, _ in made]
    if rng.random() < 0.2:  # the second image comes in a later turn
        later = about_scene(scenes[0], rng)[:2]
        _talk(rng, writer, marks[0], later)
        marks, rest = marks[1:], about_scenes(scenes, rng)
        _talk(rng, writer, _joined(rng, marks, first=2), rest)
    else:
        _talk(rng, writer, _joined(rng, marks), about_scenes(scenes, rng))
    return writer.row


def _joined(rng: random.Random, marks: Sequence[tuple[str, Grid]], first: int = 1) -> list[str | tuple[str, Grid]]:
    """Images one after the other, with or without words between."""
    between = rng.choice(("", "", "", "Image {}: ", "Image {}:\n", "\n", " and "))
    parts: list[str | tuple[str, Grid]] = []
    for number, mark in enumerate(marks, first):
        if between and (parts or "{}" in between):
            parts.append(between.format(number))
        parts.append(mark)
    if "{}" in between:
        parts.append(rng.choice((" ", "\n", "")))
    return parts


def _clip(rng: random.Random, writer: Writer) -> Row:
    width, height = _sides(rng, MIN_TOKENS, MAX_FRAME_TOKENS)
    clip = random_clip(rng, width, height)
    strength = rng.getrandbits(32)
    frames = [disturbed(scene.draw(width, height), random.Random(strength)) for scene in clip.frames]
    patches, grid = to_patches(frames)
    writer.row.clips.append((patches, grid))
    _talk(rng, writer, (VIDEO_PAD, grid), about_clip(clip, rng))
    return writer.row


def _talk(
    rng: random.Random,
    writer: Writer,
    shown: tuple[str, Grid] | list[str | tuple[str, Grid]],
    dialogue: Dialogue,
) -> None:
    """A dialogue whose first question stands before or behind what is shown."""
    parts = shown if isinstance(shown, list) else [shown]
    gap = rng.choice(("", "", "", "\n", " "))
    for number, (question, answer) in enumerate(dialogue):
        if number:
            writer.ask([question])
        elif rng.random() < 0.5:
            writer.ask([question, gap, *parts] if gap else [question, *parts])
        else:
            writer.ask([*parts, gap, question] if gap else [*parts, question])
        writer.answer(answer)


def _add(writer: Writer, scene: Scene, image: Image.Image) -> tuple[str, Grid]:
    patches, grid = to_patches([image, image])
    writer.row.images.append((patches, grid))
    writer.row.cells += _cells(scene, grid[2] // MERGE, grid[1] // MERGE)
    return IMAGE_PAD, grid


def _sides(rng: random.Random, least: int, most: int) -> tuple[int, int]:
    while True:
        width, height = rng.choice(_SIDES), rng.choice(_SIDES)
        if least <= width * height // SIDE**2 <= most and 0.4 <= width / height <= 2.5:
            return width, height


def _image(rng: random.Random, most: int) -> tuple[Scene, Image.Image]:
    """A scene, drawn on the grid or in any size and brought to it as the model's images are."""
    if rng.random() < 0.4:
        width, height = _sides(rng, MIN_TOKENS, most)
        scene = random_scene(rng, width, height)
        return scene, disturbed(scene.draw(width, height), rng)
    width, height = (round(math.exp(rng.uniform(math.log(90), math.log(700)))) for _ in range(2))
    height = min(max(height, round(width / 2.5)), round(width * 2.5))
    scene = random_scene(rng, width, height)
    size = fitted(width, height, most)
    return scene, disturbed(scene.draw(width, height).resize(size, Image.Resampling.BICUBIC), rng)


def fitted(width: int, height: int, most: int = MAX_TOKENS) -> tuple[int, int]:
    """The size to which Qwen2-VL brings an image (``smart_resize`` of Transformers)."""
    wide, high = (max(SIDE, round(side / SIDE) * SIDE) for side in (width, height))
    least, largest = MIN_TOKENS * SIDE**2, most * SIDE**2
    if wide * high > largest:
        scale = math.sqrt(width * height / largest)
        wide, high = (max(SIDE, math.floor(side / scale / SIDE) * SIDE) for side in (width, height))
    elif wide * high < least:
        scale = math.sqrt(least / (width * height))
        wide, high = (math.ceil(side * scale / SIDE) * SIDE for side in (width, height))
    return wide, high


def disturbed(image: Image.Image, rng: random.Random) -> Image.Image:
    """Brightness and noise now and then, so that resizing and JPEG do not matter."""
    if rng.random() < 0.5:
        return image
    pixels = np.asarray(image, np.float32) * rng.uniform(0.93, 1.05) + rng.uniform(-5, 5)
    if rng.random() < 0.5:
        pixels += np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 5), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def to_patches(frames: Sequence[Image.Image]) -> tuple[NDArray[np.float32], Grid]:
    """Frames of one size as Qwen2-VL's flattened patches [n, 3 * 2 * 14 * 14] in merge order, and their grid.

    The last of an odd number of frames is repeated, as Transformers does.
    """
    frames = [*frames, frames[-1]] if len(frames) % FRAMES else frames
    pixels = np.stack([(np.asarray(frame, np.float32) / 255.0 - MEAN) / STD for frame in frames])
    n_frames, height, width, _ = pixels.shape
    t, h, w = n_frames // FRAMES, height // PATCH, width // PATCH
    pixels = pixels.transpose(0, 3, 1, 2).reshape(t, FRAMES, 3, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH)
    patches = pixels.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, 3 * FRAMES * PATCH * PATCH)
    return np.ascontiguousarray(patches, np.float32), (t, h, w)


def _cells(scene: Scene, n_columns: int, n_rows: int) -> Iterator[tuple[float, ...]]:
    """Row by row what covers each cell: index of the thing, of its colour, and its box."""
    names = list(COLORS)
    for row in range(n_rows):
        for column in range(n_columns):
            best, cover = (0.0, float(names.index(scene.background)), 0.0, 0.0, 0.0, 0.0), 0.12
            for block in scene.blocks:
                left, top, right, bottom = block.box
                wide = min(right, (column + 1) / n_columns) - max(left, column / n_columns)
                high = min(bottom, (row + 1) / n_rows) - max(top, row / n_rows)
                covered = wide * high * n_columns * n_rows
                if wide > 0 and high > 0 and covered > cover:
                    best, cover = (THINGS.index(block.kind), names.index(block.color), *block.box), covered
            yield best
