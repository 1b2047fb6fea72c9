"""What the progress line says is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufvlm import VLM, EngineConfig
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal.console import Spinner
from ggufvlm.engine.engine import PromptProgress
from ggufvlm.models.resolve import find_model


def test_an_image_is_looked_at_from_its_first_moment_on(folder: Path) -> None:
    """The prompt's first tokens are read, then the image: the line must not stay with the tokens meanwhile."""
    seen: list[PromptProgress] = []
    with VLM(find_model("demo"), EngineConfig(use_cache=False), on_progress=seen.append) as vlm:
        vlm.describe(folder / "blocks.png")
    stages = [progress.stage for progress in seen if progress.stage != "prepare"]
    image = [progress for progress in seen if progress.stage == "encode"]
    assert [progress.done for progress in image] == list(range(len(image)))
    assert image[-1].done == image[-1].total, "all layers that it was said to have"
    before = stages.index("encode")
    assert all(stage == "prefill" for stage in stages[:before])
    assert stages[before : before + len(image)] == ["encode"] * len(image)


def test_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    spinner = Spinner(OutputOptions())
    monkeypatch.setattr(spinner, "update", said.append)
    for progress in (
        PromptProgress("encode", 0, None),
        PromptProgress("encode", 5, 24),
        PromptProgress("encode", 5, None),
        PromptProgress("encode", 30, 24),
        PromptProgress("prefill", 15, 997),
    ):
        spinner.on_progress(progress)
    assert said == [
        "looking at the image",
        "looking at the image: layer 5 of 24",
        "looking at the image: layer 5",
        "looking at the image: layer 30",
        "reading the prompt: 15 of 997 tokens",
    ]
