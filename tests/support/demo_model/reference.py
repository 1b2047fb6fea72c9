"""Questions about fresh images and clips, with the true answers and those of Transformers.

    python -m tests.support.demo_model.reference ggufvlm/demo tests/data/qwen2vl --rows 100

writes images/NNN.png and reference.jsonl: ``id``, ``image``, ``width``, ``height``, ``question``, ``truth``,
``reference``. Sizes fit the projector's grid, so that nothing is resized on the way.

    python -m tests.support.demo_model.reference ggufvlm/demo --score 100

tells how many answers are true, by kind of question.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer

from tests.support.demo_model.clips import random_clip
from tests.support.demo_model.questions import CAPTIONS, about_clip, about_scene, about_scenes
from tests.support.demo_model.rows import IMAGE_PAD, VIDEO_PAD, Grid, Writer, fitted, to_patches
from tests.support.demo_model.weights import STOP, load
from tests.support.scenes import random_scene

_SIDES = (112, 140, 168, 196)
_LONGEST = 160  # tokens
Part = str | Image.Image | tuple[Image.Image, ...]
Turns = Sequence[tuple[Sequence[Part], str]]
"""What the user shows and says, and the true answer, turn by turn."""


class Reference:
    """The model as Transformers runs it, in float32."""

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer

    @torch.no_grad()
    def answer(self, turns: Turns) -> str:
        """The greedy answer to the last turn; those before it are answered with the truth."""
        writer = Writer(self._tokenizer)
        for number, (parts, truth) in enumerate(turns):
            writer.ask([part if isinstance(part, str) else _shown(writer, part) for part in parts])
            if number < len(turns) - 1:
                writer.answer(truth)
        row = writer.row
        inputs: dict[str, Any] = {"input_ids": torch.tensor([row.ids]), "mm_token_type_ids": torch.tensor([row.kinds])}
        for pixels, grid, shown in (
            ("pixel_values", "image_grid_thw", row.images),
            ("pixel_values_videos", "video_grid_thw", row.clips),
        ):
            if shown:
                inputs[pixels] = torch.cat([torch.tensor(patches) for patches, _ in shown])
                inputs[grid] = torch.tensor([size for _, size in shown])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        stop = self._tokenizer.token_to_id(STOP)
        out = self._model.generate(
            **inputs, max_new_tokens=_LONGEST, do_sample=False, eos_token_id=stop, pad_token_id=stop
        )
        return str(self._tokenizer.decode(out[0, len(row.ids) :].tolist())).strip()


def _shown(writer: Writer, part: Image.Image | tuple[Image.Image, ...]) -> tuple[str, Grid]:
    frames = part if isinstance(part, tuple) else (part, part)
    shown = to_patches(frames)
    (writer.row.clips if isinstance(part, tuple) else writer.row.images).append(shown)
    return (VIDEO_PAD if isinstance(part, tuple) else IMAGE_PAD), shown[1]


def _sides(rng: random.Random, largest: int = 196 * 168) -> tuple[int, int]:
    while True:
        width, height = rng.choice(_SIDES), rng.choice(_SIDES)
        if width * height <= largest:
            return width, height


def _free(rng: random.Random) -> tuple[int, int]:
    while True:
        width, height = rng.randint(100, 700), rng.randint(100, 700)
        if 0.5 <= width / height <= 2:
            return width, height


def image_first(rng: random.Random) -> Turns:
    size = _sides(rng)
    scene = random_scene(rng, *size)
    question, truth = rng.choice(about_scene(scene, rng))
    return [([scene.draw(*size), question], truth)]


def text_first(rng: random.Random) -> Turns:
    (([image, question], truth),) = image_first(rng)
    return [([question, image], truth)]


def captions(rng: random.Random) -> Turns:
    size = _free(rng)
    scene = random_scene(rng, *size)
    image = scene.draw(*size).resize(fitted(*size), Image.Resampling.BICUBIC)
    return [([image, rng.choice(CAPTIONS)], scene.caption)]


def two_images(rng: random.Random) -> Turns:
    sizes = [_sides(rng, 140 * 140) for _ in range(2)]
    scenes = [random_scene(rng, *size) for size in sizes]
    images = [scene.draw(*size) for scene, size in zip(scenes, sizes, strict=True)]
    (first, truth), *later = about_scenes(scenes, rng)[:2]
    return [([*images, first], truth), *(([question], answer) for question, answer in later)]


def clips(rng: random.Random) -> Turns:
    size = _sides(rng, 140 * 140)
    clip = random_clip(rng, *size)
    question, truth = rng.choice(about_clip(clip, rng))
    return [([tuple(scene.draw(*size) for scene in clip.frames), question], truth)]


def mean_overlap(reference: Reference, n_rows: int) -> float:
    """Mean intersection over union of the boxes in images of any size, 0 for what is not found."""
    found = []
    for number in range(n_rows):
        rng = random.Random(f"boxes {number}")
        size = _free(rng)
        scene = random_scene(rng, *size)
        image = scene.draw(*size).resize(fitted(*size), Image.Resampling.BICUBIC)
        try:
            boxes = {
                one["label"]: one["bbox_2d"]
                for one in json.loads(reference.answer([([image, "Detect all objects."], "")]))
            }
        except (ValueError, TypeError, KeyError):
            boxes = {}
        found += [_overlap([1000 * side for side in b.box], boxes.get(b.name, [0, 0, 0, 0])) for b in scene.blocks]
    return sum(found) / len(found)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


KINDS: dict[str, Callable[[random.Random], Turns]] = {
    function.__name__: function for function in (image_first, text_first, captions, two_images, clips)
}


def score(reference: Reference, n_rows: int) -> None:
    """Print how many answers of each kind are true, and some that are not."""
    for name, make in KINDS.items():
        wrong: Counter[str] = Counter()
        for number in range(n_rows):
            turns = make(random.Random(f"{name} {number}"))
            answer, truth = reference.answer(turns), turns[-1][1]
            if answer != truth and not truth.startswith("[{"):
                asked = " ".join(part for part in turns[-1][0] if isinstance(part, str))
                wrong[f"{asked} -> {answer} (true: {truth})"] += 1
        print(f"{name}: {n_rows - wrong.total()} of {n_rows} true", *list(wrong)[:4], sep="\n    ", flush=True)
    print(f"boxes: mean overlap {mean_overlap(reference, n_rows):.3f}", flush=True)


def write(reference: Reference, out: Path, n_rows: int, seed: int) -> None:
    """Images, questions and both answers."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    rng, lines = random.Random(seed), []
    for number in range(n_rows):
        turns = image_first(rng)
        (parts, truth), name = turns[0], f"images/{number:03}.png"
        image, question = parts
        assert isinstance(image, Image.Image)
        image.save(out / name, optimize=True)
        width, height = image.size
        row = {"id": number, "image": name, "width": width, "height": height, "question": question}
        lines.append(json.dumps({**row, "truth": truth, "reference": reference.answer(turns)}) + "\n")
    (out / "reference.jsonl").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write a reference, or print a score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder with the two GGUF files")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--score", type=int, help="rows of each kind")
    args = parser.parse_args()
    reference = Reference(*load(args.model))
    if args.score:
        score(reference, args.score)
    if args.out:
        write(reference, args.out, args.rows, args.seed)


if __name__ == "__main__":
    main()
