"""``ggufvlm describe`` with PDFs and videos."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.clips import write_clip, write_pdf, write_sound
from tests.support.scenes import random_scene

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(4)]


@pytest.fixture(autouse=True)
def documents(folder: Path) -> None:
    images = [scene.draw(196, 140) for scene in SCENES]
    images[0].save(folder / "four.tif", save_all=True, append_images=images[1:], compression="tiff_lzw")
    images[0].save(folder / "one.tif")
    write_pdf(folder / "four.pdf", images)
    write_pdf(folder / "scan.jpg", images[:1])
    write_clip(folder / "clip.mp4", [(2 * i, image) for i, image in enumerate(images)], 8)


def sources(run: Run, *arguments: str) -> list[str]:
    done = run("describe", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [image["source"] for image in json.loads(done.stdout)["images"]]


def test_pages(run: Run, folder: Path) -> None:
    assert run("describe", "four.pdf", "--pages", "2").stdout.decode() == SCENES[1].caption + "\n"
    assert run("describe", "scan.jpg").stdout.decode() == SCENES[0].caption + "\n"
    assert sources(run, "four.pdf") == [f"four.pdf page {number}" for number in (1, 2, 3, 4)]
    data = (folder / "four.pdf").read_bytes()
    assert run("describe", "-", "--pages", "3", input=data).stdout.decode() == SCENES[2].caption + "\n"


def test_pages_of_a_scan(run: Run, folder: Path) -> None:
    assert run("describe", "four.tif", "--pages", "2").stdout.decode() == SCENES[1].caption + "\n"
    assert sources(run, "four.tif") == [f"four.tif page {number}" for number in (1, 2, 3, 4)]
    assert sources(run, "four.tif", "one.tif", "--pages", "2-3") == ["four.tif page 2", "four.tif page 3", "one.tif"]
    data = (folder / "four.tif").read_bytes()
    assert run("describe", "-", "--pages", "4", input=data).stdout.decode() == SCENES[3].caption + "\n"
    assert run("describe", "one.tif").stdout.decode() == SCENES[0].caption + "\n"
    assert run("describe", "four.tif", "-c", "160").stderr.decode() == "four.tif: 2 of 4 pages fit: 1-2\n"


def test_frames(run: Run, folder: Path) -> None:
    assert run("describe", "clip.mp4", "--every", "10s").stdout.decode() == SCENES[0].caption + "\n"
    assert sources(run, "clip.mp4", "--every", "2s") == [f"clip.mp4 at 0:0{time}.0" for time in (0, 2, 4, 6)]
    assert sources(run, "clip.mp4", "--frames", "2") == ["clip.mp4 at 0:02.0", "clip.mp4 at 0:06.0"]
    assert sources(run, "*.mp4", "blocks.png", "--frames", "1") == ["clip.mp4 at 0:04.0", "blocks.png"]


def test_what_was_used_is_said_when_the_context_is_small(run: Run) -> None:
    done = run("describe", "four.pdf", "-c", "160")
    assert done.returncode == 0
    assert done.stderr.decode() == "four.pdf: 2 of 4 pages fit: 1-2\n"
    assert run("describe", "four.pdf", "-c", "160", "-q").stderr == b""


BAD = {
    "a missing PDF": (["none.pdf", "What?"], 3, "no such image: none.pdf"),
    "a missing video": (["none.mp4"], 3, "none.mp4"),
    "a cut PDF": (["cut.pdf"], 3, "cut.pdf"),
    "a cut video": (["cut.mp4"], 3, "cut.mp4"),
    "sound": (["sound.m4a"], 3, "only sound"),
    "pages beyond the end": (["four.pdf", "--pages", "9"], 2, "there are 4"),
    "no pages": (["four.pdf", "--pages", "x"], 2, "pages"),
    "no time": (["clip.mp4", "--every", "often"], 2, "not a time"),
    "both ways": (["clip.mp4", "--every", "2s", "--frames", "2"], 2, "either"),
    "pages of an image": (["blocks.png", "--pages", "1"], 2, "no PDF"),
    "pages of a TIFF that has one": (["one.tif", "--pages", "1"], 2, "no TIFF of several pages"),
    "pages beyond the end of a scan": (
        ["four.tif", "--pages", "9"],
        2,
        "four.tif: selection of pages 9: beyond the end",
    ),
    "a cut scan": (["cut.tif"], 3, "cut.tif"),
    "frames of a PDF": (["four.pdf", "--frames", "2"], 2, "no video"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_get_one_clear_line_and_a_code(run: Run, folder: Path, name: str) -> None:
    (folder / "cut.pdf").write_bytes((folder / "four.pdf").read_bytes()[:400])
    (folder / "cut.tif").write_bytes((folder / "four.tif").read_bytes()[:-900])
    (folder / "cut.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:1000])
    write_sound(folder / "sound.m4a")
    arguments, code, words = BAD[name]
    done = run("describe", *arguments)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b""), lines
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert len(lines) <= 2


@pytest.mark.parametrize(("package", "file", "extra"), [("pypdfium2", "four.pdf", "pdf"), ("av", "clip.mp4", "video")])
def test_a_missing_package_is_named(folder: Path, package: str, file: str, extra: str) -> None:
    """In an interpreter that cannot import it."""
    program = f"import sys; sys.modules[{package!r}] = None\nfrom ggufvlm.cli.main import main\nmain()"
    command = [sys.executable, "-c", program, "describe", file, "-m", "demo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1] == f"hint: pip install 'ggufvlm[{extra}]'"
    assert file in done.stderr.splitlines()[0]
