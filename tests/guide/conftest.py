"""The files that the snippets of README and guide name."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pillow_heif
import pytest

from tests.support.clips import write_clip, write_pdf, write_uneven_clip
from tests.support.pages import GUIDE
from tests.support.scenes import random_scene

DEMO = GUIDE.parent / "demo"

RECEIPT = {
    "type": "object",
    "properties": {"total": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["total"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def snippet_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a snippet may name."""
    folder = tmp_path_factory.mktemp("snippets")
    rng = random.Random(16)
    images = [random_scene(rng, 140, 112).draw(140, 112) for _ in range(6)]
    shutil.copy(DEMO / "blocks-1.png", folder / "a.png")
    for name in ("photo.jpg", "before.jpg", "after.jpg", "receipt.jpg", "street.jpg", "b.png"):
        images[0].save(folder / name)
    for name in ("shots/1.png", "shots/2.png", "photos/1.jpg", "photos/2.jpg", "scans/1.png", "site/1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        images[int(Path(name).stem)].save(folder / name)
    pillow_heif.from_pillow(images[1]).save(folder / "photo.heic")
    images[2].save(folder / "scan.tiff", save_all=True, append_images=images[3:4])
    (folder / "reports").mkdir()
    for name in ("scan.pdf", "report.pdf", "reports/1.pdf"):
        write_pdf(folder / name, images)
    write_clip(folder / "clip.mp4", [(0, images[0]), (1, images[1])], 2)
    write_uneven_clip(folder / "long.mp4", [(0, images[0]), (40, images[1]), (80, images[2])])
    shutil.copy(DEMO / "tiny-qwen2vl-Q8_0.gguf", folder / "model.gguf")
    for name in ("mmproj.gguf", "mmproj-F16.gguf"):
        shutil.copy(DEMO / "mmproj-tiny-qwen2vl-F16.gguf", folder / name)
    texts = {
        "question.txt": "Describe this image.",
        "labels.txt": "red\ngreen\n",
        "script.txt": "What is on the left?\n/undo\nDescribe the image.\n",
        "list.csv": "image\nphotos/1.jpg\nphotos/2.jpg\n",
        "site/index.html": '<p>A page.</p><img src="1.jpg">',
        "receipt.json": json.dumps(RECEIPT),
        "blocks.gbnf": 'root ::= "red" | "green"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(snippet_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in, with the built-in model as the user's default."""
    copy = tmp_path / "snippets"
    shutil.copytree(snippet_files, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return copy
