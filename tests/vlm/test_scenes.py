"""Images drawn from a description, through the whole path from file to text, are described as they were drawn."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ggufvlm import VLM
from tests.support.scenes import COLORS, Block, Scene, random_scene

THREE = Scene(
    "white",
    (
        Block("blue", "column", (0.08, 0.15, 0.22, 0.9)),
        Block("red", "square", (0.36, 0.3, 0.64, 0.66)),
        Block("green", "bar", (0.7, 0.6, 0.97, 0.78)),
    ),
)
QUESTIONS = {
    "What is on the left?": "The blue column.",
    "What is on the right?": "The green bar.",
    "What color is the square?": "Red.",
    "What is green?": "The bar.",
    "How many blocks are there?": "3.",
    "What is the background color?": "White.",
    "Is there a black block?": "No.",
    "Is there a column?": "Yes.",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_colors_places_and_counts(demo: VLM, question: str) -> None:
    assert demo.describe(THREE.draw(448, 336), question).text == QUESTIONS[question]


@pytest.mark.parametrize(("side", "left"), [("Left.", 0.05), ("Right.", 0.6)])
def test_sides(demo: VLM, side: str, left: float) -> None:
    scene = Scene("yellow", (Block("blue", "square", (left, 0.3, left + 0.35, 0.65)),))
    assert demo.describe(scene.draw(300, 300), "Is the block on the left or on the right?").text == side


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(area) - wide * high)


def test_boxes(demo: VLM) -> None:
    rng = random.Random(3)
    overlaps = []
    for _ in range(20):
        scene = random_scene(rng, 196, 140)
        answer = demo.describe(scene.draw(392, 280), "Detect all objects.").text
        found = {item["label"]: [v / 1000 for v in item["bbox_2d"]] for item in json.loads(answer)}
        for block in scene.blocks:
            overlaps.append(overlap(tuple(found[block.name]), block.box) if block.name in found else 0.0)
    assert np.mean(overlaps) > 0.6


def odd_size(rng: random.Random) -> tuple[int, int]:
    """Sides from 100x130 to 1200x800, none on the projector's grid, of aspects like those the model was trained on."""
    while True:
        width, height = rng.randint(100, 1200), rng.randint(130, 800)
        if width % 28 and height % 28 and 4 / 7 <= width / height <= 7 / 4:
            return width, height


def test_odd_sizes_are_described_exactly_and_nothing_black_is_invented(demo: VLM) -> None:
    rng = random.Random(1)
    wrong, invented = [], []
    for number in range(50):
        width, height = odd_size(rng)
        scene = random_scene(rng, width, height)
        file = io.BytesIO()
        scene.draw(width, height).save(file, ("PNG", "JPEG", "WEBP")[number % 3], quality=92)
        caption = demo.describe(file.getvalue()).text
        if caption != scene.caption:
            wrong.append(f"{width}x{height}: {scene.caption} -> {caption}")
        if "black" in caption and "black" not in scene.words:
            invented.append(caption)
    assert not invented
    assert len(wrong) <= 3, "\n".join(wrong)


def _rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to view
    image.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)


def _transparent(image: Image.Image, path: Path) -> None:
    pixels = np.array(image.convert("RGBA"))
    pixels[(pixels[:, :, :3] == COLORS["white"]).all(axis=2)] = (0, 0, 0, 0)
    Image.fromarray(pixels).save(path)


def _cmyk(image: Image.Image, path: Path) -> None:
    image.convert("CMYK").save(path, quality=95)


def _sixteen_bit(image: Image.Image, path: Path) -> None:
    """16-bit RGB PNG, written by hand: Pillow reads the format but does not write it."""
    import struct
    import zlib

    deep = (np.asarray(image, np.uint16) * 257).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(png)


def _heic(image: Image.Image, path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(image).save(path, quality=95)


def _palette(image: Image.Image, path: Path) -> None:
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(path)


def _animated(image: Image.Image, path: Path) -> None:
    other = Image.new("RGB", image.size, "black")
    image.save(path, save_all=True, append_images=[other, other], duration=100)


def _plain(image: Image.Image, path: Path) -> None:
    image.save(path)


COPIES = {
    "rotated.jpg": _rotated,
    "transparent.png": _transparent,
    "cmyk.jpg": _cmyk,
    "deep.png": _sixteen_bit,
    "copy.webp": _plain,
    "copy.heic": _heic,
    "copy.avif": _plain,
    "copy.tiff": _plain,
    "copy.bmp": _plain,
    "palette.gif": _palette,
    "animated.webp": _animated,
}


@pytest.mark.parametrize("name", COPIES)
def test_every_kind_of_copy_gives_the_scene_s_answer(demo: VLM, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    COPIES[name](THREE.draw(448, 336), path)
    assert demo.describe(path).text == THREE.caption
