"""``ggufvlm describe`` with long videos: ``--window``, ``--scenes``."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.clips import write_clip, write_pdf, write_sound
from tests.support.scenes import random_scene

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(4)]
CAPTIONS = [scene.caption for scene in SCENES]


@pytest.fixture(autouse=True)
def clip(folder: Path) -> None:
    """Twelve seconds: four scenes, which begin at 0, 3, 5 and 9."""
    images = [scene.draw(196, 140) for scene in SCENES]
    write_clip(folder / "clip.mp4", list(zip((0, 3, 5, 9), images, strict=True)), 12)


def test_what_happens_is_told_in_order(run: Run) -> None:
    done = run("describe", "clip.mp4", "--window", "3s", "--frames", "1", "--no-summary")
    assert (done.returncode, done.stderr) == (0, b"")
    times = ("0:00.0-0:03.0", "0:03.0-0:06.0", "0:06.0-0:09.0", "0:09.0-0:12.0")
    shown = [CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], CAPTIONS[3]]
    assert done.stdout.decode().splitlines() == [f"[{t}] {text}" for t, text in zip(times, shown, strict=True)]


def test_one_answer_from_all_windows(run: Run) -> None:
    """The built-in model cannot sum up; what it was asked about can be seen."""
    done = run("describe", "clip.mp4", "--window", "3s", "--frames", "1", "--json", "-n", "20")
    assert done.returncode in (0, 6)
    envelope = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert [window["text"] for window in envelope["windows"]] == CAPTIONS
    assert [window["frames"] for window in envelope["windows"]] == [[1.5], [4.5], [7.5], [10.5]]
    assert (envelope["windows"][1]["start"], envelope["windows"][1]["end"]) == (3, 6)
    assert envelope["images"] == []
    assert envelope["usage"]["n_prompt"] > 4 * 10
    plain = run("describe", "clip.mp4", "--window", "3s", "--frames", "1", "-n", "20")
    assert plain.stdout.decode().strip() == envelope["text"].strip()


def test_the_shape_of_the_whole_answer(run: Run) -> None:
    done = run("describe", "clip.mp4", "--window", "6s", "--frames", "1", "--choices", "yes,no", "--json")
    told = json.loads(done.stdout)
    assert told["value"] == told["text"]
    assert told["value"] in ("yes", "no")
    assert [window["text"] in ("yes", "no") for window in told["windows"]] == [False, False], "notes have no shape"


@pytest.mark.slow
def test_a_frame_of_each_scene(run: Run) -> None:
    done = run("describe", "clip.mp4", "--scenes", "--frames", "4", "--json")
    sources = [image["source"] for image in json.loads(done.stdout)["images"]]
    times = [float(source.rpartition(":")[2]) for source in sources]
    assert times == pytest.approx([0.5, 3.5, 5.5, 9.5], abs=0.11)
    assert run("describe", "clip.mp4", "--scenes", "--frames", "1").stdout.decode() == f"{CAPTIONS[2]}\n", (
        "the longest one"
    )
    per_window = run("describe", "clip.mp4", "--scenes", "--window", "6s", "--frames", "1", "--no-summary", "--json")
    assert [window["text"] for window in json.loads(per_window.stdout)["windows"]] == [CAPTIONS[0], CAPTIONS[2]]


BAD = {
    "an image": (["blocks.png", "--window", "2s"], 3, "not a video"),
    "a PDF": (["a.pdf", "--window", "2s"], 3, "not a video"),
    "sound": (["sound.m4a", "--window", "2s"], 3, "only sound"),
    "a cut file": (["cut.mp4", "--window", "2s"], 3, "cut.mp4"),
    "two videos": (["clip.mp4", "clip.mp4", "--window", "2s"], 2, "one video"),
    "no time": (["clip.mp4", "--window", "long"], 2, "not a time"),
    "far too many": (["clip.mp4", "--window", "0.5ms"], 2, "at most"),
    "pages of a video": (["clip.mp4", "--window", "2s", "--pages", "1"], 2, "--pages is for PDFs"),
    "no window": (["clip.mp4", "--no-summary"], 2, "--window"),
    "scenes of an image": (["blocks.png", "--scenes"], 2, "no video"),
    "scenes by the clock": (["clip.mp4", "--scenes", "--every", "2s"], 2, "either"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_get_one_clear_line_and_a_code(run: Run, folder: Path, name: str) -> None:
    write_pdf(folder / "a.pdf", [SCENES[0].draw(196, 140)])
    write_sound(folder / "sound.m4a")
    (folder / "cut.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:2000])
    arguments, code, words = BAD[name]
    done = run("describe", *arguments)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b""), lines
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert len(lines) <= 2
