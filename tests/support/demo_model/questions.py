"""Questions about scenes and clips with their exact answers."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from tests.support.demo_model.clips import Clip
from tests.support.scenes import COLORS, RATIOS, Scene

Dialogue = list[tuple[str, str]]
"""Questions and answers, turn by turn."""

CAPTIONS = (
    "Describe this image.",
    "Describe the image.",
    "Describe this image in detail.",
    "Describe the picture.",
    "What is in this image?",
    "What is in this picture?",
    "What is in the picture?",
    "What do you see?",
    "What do you see in this image?",
    "What is shown here?",
    "What is this?",
    "Caption this image.",
    "Write a caption for this image.",
    "Give a short description.",
    "Write a short alt text for this image.",
)
DETECTIONS = (
    "Detect all objects.",
    "Detect all objects and return their bounding boxes as JSON.",
    "Locate every object in this image and output the bounding boxes as JSON.",
    "Find all blocks and return bounding boxes.",
)
BACKGROUNDS = ("What is the background color?", "What color is the background?")
COUNTS = ("How many blocks are there?", "How many objects are there?", "How many blocks are in the image?")
SEVERAL = ("What do you see in these images?", "Describe these images.", "Describe each image.")
CLIPS = ("Describe this video.", "Describe the video.", "What happens?", "What happens in this video?")
_CENTRE = (0.42, 0.58)  # a block there is on neither side


def boxes_json(scene: Scene) -> str:
    """Boxes on the scale of 0 to 1000 on which Qwen2-VL writes them, in steps of 20."""
    return json.dumps(
        [{"bbox_2d": [round(side * 50) * 20 for side in block.box], "label": block.name} for block in scene.blocks]
    )


def about_scene(scene: Scene, rng: random.Random) -> Dialogue:
    """Three to six questions about one scene, in random order."""
    blocks = scene.blocks
    kinds, colors = [block.kind for block in blocks], [block.color for block in blocks]
    pairs = [
        (rng.choice(CAPTIONS), scene.caption),
        (rng.choice(BACKGROUNDS), f"{scene.background.capitalize()}."),
        (rng.choice(COUNTS), f"{len(blocks)}."),
        _whether(rng.choice(list(COLORS)), "block", colors),
        _whether(rng.choice(list(RATIOS)), "", kinds),
    ]
    for block in blocks:
        if kinds.count(block.kind) == 1:
            pairs.append((f"What color is the {block.kind}?", f"{block.color.capitalize()}."))
        if colors.count(block.color) == 1:
            pairs.append((f"What is {block.color}?", f"The {block.kind}."))
    pairs += _about_one(scene) if len(blocks) == 1 else _about_sides(scene)
    rng.shuffle(pairs)
    pairs = pairs[: rng.randint(3, 6)]
    if rng.random() < 0.6:
        pairs.insert(rng.randint(0, len(pairs)), (rng.choice(DETECTIONS), boxes_json(scene)))
    return pairs


def _whether(word: str, noun: str, words: Sequence[str]) -> tuple[str, str]:
    article = "an" if word[0] in "aeiou" else "a"
    return f"Is there {article} {word} {noun}".strip() + "?", "Yes." if word in words else "No."


def _about_one(scene: Scene) -> Dialogue:
    (block,) = scene.blocks
    left, top, right, bottom = block.box
    x, y = (left + right) / 2, (top + bottom) / 2
    shape = json.dumps({"color": block.color, "shape": block.kind})
    pairs = [("Answer in JSON with the keys color and shape.", shape)]
    if not _CENTRE[0] < x < _CENTRE[1]:
        pairs.append(("Is the block on the left or on the right?", "Left." if x < 0.5 else "Right."))
    if not _CENTRE[0] < y < _CENTRE[1]:
        pairs.append(("Is the block at the top or at the bottom?", "Top." if y < 0.5 else "Bottom."))
    return pairs


def _about_sides(scene: Scene) -> Dialogue:
    return [
        ("What is on the left?", f"The {scene.blocks[0].name}."),
        ("What is on the right?", f"The {scene.blocks[-1].name}."),
    ]


def about_scenes(scenes: Sequence[Scene], rng: random.Random) -> Dialogue:
    """Questions about several scenes, each naming the one it is about, or all of them."""
    pairs: Dialogue = []
    if rng.random() < 0.3:
        pairs.append(
            (rng.choice(SEVERAL), " ".join(f"Image {n}: {scene.caption}" for n, scene in enumerate(scenes, 1)))
        )
    for _ in range(rng.randint(2, 5)):
        number = rng.randrange(len(scenes))
        question, answer = rng.choice(about_scene(scenes[number], rng))
        pairs.append((_of_image(question, number, rng), answer))
    return pairs


def _of_image(question: str, number: int, rng: random.Random) -> str:
    """The same question, about the image with that number."""
    names = (f"image {number + 1}", f"the {('first', 'second', 'third')[number]} image")
    name = rng.choice(names)
    if question in CAPTIONS:
        return rng.choice((f"Describe {name}.", f"What is in {name}?", f"What do you see in {name}?"))
    lowered = question[0].lower() + question[1:]
    forms = [f"In {name}, {lowered}", f"{name[0].upper()}{name[1:]}: {question}", f"Look at {name}. {question}"]
    if question.endswith("?") and " image" not in question:
        forms += [f"{question[:-1]} in {name}?"] * 3
    return rng.choice(forms)


def about_clip(clip: Clip, rng: random.Random) -> Dialogue:
    """Two to five questions about what happens in a clip."""
    first = clip.frames[0]
    pairs = [(rng.choice(CLIPS), clip.caption), (rng.choice(BACKGROUNDS), f"{first.background.capitalize()}.")]
    for verb, kind in (("move", "move"), ("appear", "appear"), ("disappear", "go")):
        if rng.random() < 0.5:
            pairs.append((f"Does anything {verb}?", "Yes." if clip.kind == kind else "No."))
    name = f"The {clip.block.name}."
    if clip.kind == "move":
        block = rng.choice((f"the {clip.block.name}", f"the {clip.block.kind}", "it"))
        where = (f"Where does {block} move?", f"Which way does {block} move?", f"Where does {block} move to?")
        pairs += [("What moves?", name), (rng.choice(where), f"{clip.where[0].upper()}{clip.where[1:]}.")]
    elif clip.kind == "appear":
        pairs += [("What appears?", name)] * 2
    elif clip.kind == "go":
        pairs += [(rng.choice(("What disappears?", "What goes away?")), name)] * 2
    else:
        pairs.append(("Which color comes first?", f"{clip.block.color.capitalize()}."))
        pairs.append(("Which color comes last?", f"{clip.where.capitalize()}."))
    rng.shuffle(pairs)
    return pairs[: rng.randint(2, 5)]
