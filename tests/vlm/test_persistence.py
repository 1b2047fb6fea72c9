"""What one process leaves for the next: through the command line, as a user would see it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.media import load
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.request import question
from tests.support.scenes import Scene, random_scene


@pytest.fixture
def image(tmp_path: Path, scene: Scene) -> Path:
    path = tmp_path / "scene.png"
    scene.draw(196, 140).save(path)
    return path


def describe(image: Path, prompt: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "ggufvlm", "describe", str(image), prompt, "-m", "demo", "--temp", "0", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=100)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
def test_a_later_process_starts_at_the_question(image: Path, tmp_path: Path) -> None:
    first = describe(image, "Describe this image.")
    assert first["usage"]["n_images_encoded"] == 1
    second = describe(image, "What is on the left?")
    assert second["usage"]["n_images_encoded"] == 0
    assert second["usage"]["n_restored"] > 35
    assert second["text"] == describe(image, "What is on the left?", "--no-cache")["text"]
    moved = image.rename(tmp_path / "elsewhere.png")
    assert describe(moved, "Describe this image.")["usage"]["n_images_encoded"] == 0, "known by its pixels"


def test_nothing_is_read_or_written_without_the_cache(image: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert describe(image, "Describe this image.", "--no-cache")["usage"]["n_images_encoded"] == 1
    folder = tmp_path / "cache"
    assert not [path for name in ("embeddings", "snapshots") for path in (folder / name).glob("*")]


def test_other_settings_are_not_taken_for_the_same(image: Path) -> None:
    describe(image, "Describe this image.")
    larger = describe(image, "Describe this image.", "--image-min-tokens", "60")
    assert larger["usage"]["n_images_encoded"] == 1
    other_cells = describe(image, "Describe this image.", "-ctk", "f32")
    assert other_cells["usage"]["n_restored"] == 0, "cells of another type"
    assert other_cells["usage"]["n_images_recalled"] == 1, "but the same image to the projector"


def test_damaged_entries_are_dropped_and_made_again(image: Path, tmp_path: Path) -> None:
    expected = describe(image, "Describe this image.")["text"]
    kept = [path for name in ("embeddings", "snapshots") for path in (tmp_path / "cache" / name).iterdir()]
    assert len(kept) == 3, "layout, embeddings, cells"
    for path in kept:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    again = describe(image, "Describe this image.")
    assert again["text"] == expected
    assert again["usage"]["n_images_encoded"] == 1
    assert describe(image, "Describe this image.")["usage"]["n_restored"] > 35


def test_embeddings_from_disk_give_the_answers_of_fresh_ones() -> None:
    images = [random_scene(random.Random(seed), 196, 140).draw(196, 140) for seed in range(6)]
    settings = {"temperature": 0.0}
    config = EngineConfig(n_slots=3, priority="throughput")
    told = []
    for _ in range(2):
        with VLM.load("demo", config=config) as vlm:
            answers = [vlm.describe(image, "Describe this image.", **settings) for image in images]
        told.append([answer.text for answer in answers])
        n_encoded = sum(answer.usage.n_images_encoded for answer in answers)
    assert told[0] == told[1]
    assert n_encoded == 0


def test_a_known_image_needs_no_projector_in_memory(image: Path) -> None:
    files = find_model("demo")
    loaded = []
    for prompt in ("Describe this image.", "What is on the left?", "How many blocks are there?"):
        with VLM(files, EngineConfig(), waits_for_images=True) as vlm:
            seen = load(str(image))
            vlm.expect([seen])
            answer = vlm.stream(question([seen], prompt), temperature=0.0).answer
            loaded.append(vlm._worker.engine._runner.projector.is_loaded)
            if len(loaded) == 3:
                other = vlm.describe(random_scene(random.Random(9), 196, 140).draw(196, 140), temperature=0.0)
        assert answer.text == describe(image, prompt, "--no-cache")["text"]
    assert loaded == [True, False, False]
    assert other.usage.n_images_encoded == 1, "it is loaded when an unknown image comes"
    assert other.text == random_scene(random.Random(9), 196, 140).caption
