"""Many images in one question: short messages, and the way to ask about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, Run, shown_lines
from tests.support.program import see_program


@pytest.fixture
def photos(folder: Path) -> Path:
    """A folder with 300 small images: more than the built-in model's context holds."""
    (folder / "my photos").mkdir()
    SCENE.draw(28, 28).save(folder / "my photos" / "1.png")
    for number in range(2, 301):
        (folder / "my photos" / f"{number}.png").hardlink_to(folder / "my photos" / "1.png")
    return folder / "my photos"


def test_more_images_than_fit_are_told_by_their_number(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    shown, code = see_program("describe", str(photos.relative_to(folder)), "What?", folder=folder)
    text = " ".join(line for line in shown_lines(shown, 80) if line)
    assert code == 1
    assert "note: one question about 300 images" in text
    assert "300 images take 4800 (my photos/1.png takes 16, my photos/2.png takes 16" in text
    assert text.count(".png takes") == 3
    assert "hint: fewer images: about 2" in text
    assert "--image-max-tokens" not in text, "which cannot help here"
    assert len(text) < 600


def test_many_images_lead_to_batch(run: Run, photos: Path, folder: Path) -> None:
    few = [f"my photos/{number}.png" for number in range(1, 8)]
    assert run("describe", *few, "What?", "-n", "2").stderr.startswith(b"warning:"), "about the length alone"
    done = run("describe", *few, "blocks.png", "What?", "-n", "2")
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[0] == (
        'note: one question about 8 images; ggufvlm batch FOLDER -p "..." -o answers.jsonl asks about each'
    )
    assert b"note:" not in run("describe", *few, "blocks.png", "What?", "-n", "2", "-q").stderr
    (photos / "8.png").rename(folder / "8.png")
    for number in range(9, 301):
        (photos / f"{number}.png").unlink()
    (photos / "9.png").hardlink_to(photos / "1.png")
    assert b"ggufvlm batch 'my photos' -p" in run("describe", "my photos", "What?", "-n", "2").stderr


def test_a_chat_with_many_images_stages_them_in_one_line(run: Run, photos: Path) -> None:
    done = run("chat", "my photos", input=b"What?\n")
    lines = done.stderr.decode().splitlines()
    assert "staged images 1 to 300: my photos/1.png to my photos/300.png" in lines
    assert done.returncode == 1
    (error,) = (line for line in lines if line.startswith("error: "))
    assert "300 images take 4800 (image 1 (my photos/1.png (staged)) takes 16" in error
    assert error.count(" takes ") == 3
    assert sum(map(len, lines)) < 700
