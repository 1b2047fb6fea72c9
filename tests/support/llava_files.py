"""The small trained LLaVA of tests/data/llava, and variants of its projector."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ggufvlm import VLM
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import copied, read_pairs, write_gguf
from ggufvlm.projectors.repair import Repair

DATA = Path(__file__).parents[1] / "data" / "llava"
MODEL, MMPROJ = DATA / "tiny-llava-Q8_0.gguf", DATA / "mmproj-tiny-llava-F16.gguf"
REPAIR = Repair(all_blocks=True, class_token=True)
WIDTH = 256  # of the model's vectors


def load_llava(cache: Path, mmproj: Path = MMPROJ, **variables: str) -> VLM:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GGUFVLM_CACHE_DIR", str(cache))
        for name, value in variables.items():
            patch.setenv(name, value)
        return VLM.load(MODEL, mmproj)


def rows(n: int = 100) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / "reference.jsonl").read_text().splitlines()][:n]


def differences(vlm: VLM, n: int = 100) -> list[str]:
    """Where the answers differ from the Transformers implementation's on the same weights in float32."""
    found = []
    for row in rows(n):
        answer = vlm.describe(DATA / row["image"], row["question"], temperature=0.0)
        if answer.text != row["reference"]:
            found.append(f"{row['image']} {row['question']} reference {row['reference']!r}, ours {answer.text!r}")
    return found


def noise(width: int, height: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def changed(target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The projector with other metadata."""
    header = read_header(MMPROJ)
    pairs = read_pairs(MMPROJ, header)
    change(pairs)
    with target.open("wb") as file:
        write_gguf(file, pairs, copied(MMPROJ, header))
    return target


def without_type(target: Path) -> Path:
    return changed(target, lambda pairs: pairs.pop("clip.projector_type"))
