"""What a command writes takes the place of its own earlier output, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.batch.conftest import draw_scenes, scene
from tests.cli.conftest import Run
from tests.support.terminal import Terminal

MINE = "made by hand"
OUTPUTS: dict[str, tuple[str, list[str]]] = {
    "text of ocr": ("out.txt", ["ocr", "blocks.png", "-o", "out.txt"]),
    "markdown of ocr": ("out.md", ["ocr", "blocks.png", "-o", "out.md"]),
    "pages of ocr": ("out.json", ["ocr", "blocks.png", "--json", "-o", "out.json"]),
    "a table of boxes": ("out.tsv", ["detect", "blocks.png", "-o", "out.tsv"]),
    "boxes as JSON": ("out.json", ["detect", "blocks.png", "--json", "-o", "out.json"]),
    "COCO": ("out.json", ["detect", "blocks.png", "-f", "coco", "-o", "out.json"]),
    "YOLO": ("out.txt", ["detect", "blocks.png", "-f", "yolo", "-o", "out.txt"]),
    "YOLO's classes": ("set/classes.txt", ["detect", "blocks.png", "-f", "yolo", "-o", "set"]),
    "YOLO's labels": ("set/labels/blocks.txt", ["detect", "blocks.png", "-f", "yolo", "-o", "set"]),
    "labelme": ("set/blocks.json", ["detect", "blocks.png", "-f", "labelme", "-o", "set"]),
    "a drawn copy": ("out.png", ["detect", "blocks.png", "--save", "out.png"]),
    "a folder of drawn copies": ("drawn/blocks.png", ["detect", "blocks.png", "--save", "drawn"]),
    "the image of the demo": ("out.png", ["demo", "--save", "out.png"]),
    "a plot": ("out.svg", ["bench", "demo", "--only", "decode", "-n", "4", "--repeat", "1", "--plot", "out.svg"]),
}


def slow_but(*quick: str) -> list[Any]:
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in OUTPUTS]


@pytest.mark.parametrize(
    "case", slow_but("text of ocr", "a table of boxes", "YOLO's classes", "a drawn copy", "a plot")
)
def test_what_was_made_by_hand_stays(run: Run, folder: Path, case: str) -> None:
    name, command = OUTPUTS[case]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE)
    done = run(*command)
    assert (done.returncode, path.read_text()) == (2, MINE)
    error, hint = done.stderr.decode().splitlines()
    assert name in error
    assert "--overwrite" in hint


@pytest.mark.parametrize("case", slow_but("text of ocr"))
def test_an_earlier_output_is_replaced_unless_somebody_has_changed_it(run: Run, folder: Path, case: str) -> None:
    name, command = OUTPUTS[case]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE)
    assert run(*command, "--overwrite").returncode == 0
    written = path.read_bytes()
    assert written != MINE.encode()
    assert run(*command).returncode == 0
    path.write_bytes(written + b"changed by hand")
    done = run(*command)
    assert (done.returncode, path.read_bytes()) == (2, written + b"changed by hand")


READ: dict[str, list[str]] = {
    "an image": ["ocr", "blocks.png", "-o", "blocks.png"],
    "a prompt": ["ocr", "blocks.png", "-p", "@ask.txt", "-o", "ask.txt"],
    "labels": ["detect", "blocks.png", "-l", "@ask.txt", "-o", "ask.txt"],
    "a model": ["detect", "blocks.png", "-m", "ask.txt", "-o", "ask.txt"],
    "an image for bench": ["bench", "demo", "--image", "blocks.png", "--plot", "./blocks.png"],
    "two outputs": ["detect", "blocks.png", "-o", "out.png", "--save", "out.png"],
}


@pytest.mark.parametrize("case", READ)
def test_nothing_is_written_over_what_is_read_whatever_is_said(run: Run, folder: Path, case: str) -> None:
    (folder / "ask.txt").write_text("Describe this image.")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = run(*READ[case], "--overwrite")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_terminal_is_asked(folder: Path) -> None:
    path = folder / "out.txt"
    path.write_text(MINE)
    for answer, code in (("n", 2), ("y", 0)):
        terminal = Terminal(folder, "ocr", "blocks.png", "-m", "demo", "-o", "out.txt")
        terminal.see("Replace it?")
        terminal.press(f"{answer}\r")
        assert terminal.end() == code
        assert (path.read_text() == MINE) is (answer == "n")


def test_a_page_that_is_no_gallery_stays(run: Run, folder: Path) -> None:
    command = ["batch", "blocks.png", "-p", "Describe this image.", "-o", "rows.jsonl", "--html", "index.html"]
    (folder / "index.html").write_text(MINE)
    done = run(*command)
    assert (done.returncode, (folder / "index.html").read_text()) == (2, MINE)
    assert b"index.html: there already, and no gallery" in done.stderr
    assert not (folder / "rows.jsonl").exists()
    (folder / "index.html").unlink()
    for _ in range(2):
        assert run(*command).returncode == 0
    assert "blocks.png" in (folder / "index.html").read_text()


def test_a_table_that_somebody_has_corrected_is_kept(run: Run, folder: Path) -> None:
    command = ["batch", "blocks.png", "-p", "Describe this image.", "-o", "rows.csv"]
    assert run(*command).returncode == 0
    made = (folder / "rows.csv").read_text()
    assert run(*command).returncode == 0
    assert not (folder / "rows.csv.bak").exists(), "nobody has changed it"
    for name in ("rows.csv.bak", "rows.csv.bak2"):
        (folder / "rows.csv").write_text(f"{made}{name}")
        done = run(*command)
        assert f"rows.csv was changed since it was made: kept as {name}" in done.stderr.decode()
        assert (folder / name).read_text() == f"{made}{name}"
        assert (folder / "rows.csv").read_text() == made


def test_without_a_place_to_remember_the_next_run_is_asked(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "file"))
    command = ["ocr", "blocks.png", "-o", "out.txt"]
    assert [run(*command).returncode for _ in range(2)] == [0, 2]
    assert run(*command, "--overwrite").returncode == 0


BATCH = ["batch", "shots", "-o", "rows.jsonl"]
PROMPT, OTHER = ["-p", "Describe this image."], ["-p", "What is on the left?"]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        (OTHER, "another prompt"),
        pytest.param([*PROMPT, "-n", "9"], "other settings", marks=pytest.mark.slow),
        pytest.param([*PROMPT, "-s", "Be brief."], "other settings", marks=pytest.mark.slow),
    ],
)
def test_answers_to_another_question_are_not_replaced_without_a_word(
    run: Run, folder: Path, question: list[str], word: str
) -> None:
    draw_scenes(folder / "shots", 3)
    assert run(*BATCH, *PROMPT).returncode == 0
    before = (folder / "rows.jsonl").read_bytes()
    done = run(*BATCH, *question)
    error, hint = done.stderr.decode().splitlines()
    assert (done.returncode, (folder / "rows.jsonl").read_bytes()) == (2, before)
    assert "rows.jsonl" in error
    assert word in error
    assert "--restart" in hint
    draw_scenes(folder / "shots", 1, first=3)
    assert b"1 answered, 3 there before" in run(*BATCH, *PROMPT).stderr
    before = (folder / "rows.jsonl").read_bytes()
    assert run(*BATCH, *question, "--restart").returncode == 0
    assert (folder / "rows.jsonl.bak").read_bytes() == before
    assert len((folder / "rows.jsonl").read_bytes().splitlines()) == 4


@pytest.mark.slow
def test_a_terminal_is_asked_before_answers_are_replaced(run: Run, folder: Path) -> None:
    draw_scenes(folder / "shots", 3)
    assert run(*BATCH, *PROMPT).returncode == 0
    before = (folder / "rows.jsonl").read_bytes()
    for answer, code in (("n", 2), ("\x03", 130), ("y", 0)):
        terminal = Terminal(folder, *BATCH, *OTHER)
        terminal.see("Replace them?")
        terminal.press(answer if answer == "\x03" else f"{answer}\r")
        assert terminal.end() == code, terminal.text
        assert ((folder / "rows.jsonl").read_bytes() == before) is (answer != "y")
    assert (folder / "rows.jsonl").read_text().count("What is on the left?") == 3


def test_an_image_that_has_changed_is_asked_about_again(run: Run, folder: Path) -> None:
    draw_scenes(folder / "shots", 3)
    assert run(*BATCH, *PROMPT).returncode == 0
    scene(7).draw(196, 140).save(folder / "shots" / "s001.png")
    done = run(*BATCH, *PROMPT)
    assert done.returncode == 0
    assert b"1 answered, 2 there before" in done.stderr


def test_images_that_share_a_name_have_a_sidecar_each(run: Run, folder: Path) -> None:
    draw_scenes(folder / "shots", 2)
    scene(2).draw(196, 140).save(folder / "shots" / "s001.jpg", quality=95)
    done = run(*BATCH, *PROMPT, "--sidecar", "txt")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"share a name") == 1
    answers = {row["id"]: row["answer"] for row in map(json.loads, (folder / "rows.jsonl").read_text().splitlines())}
    beside = {"s000.txt": "s000.png", "s001.jpg.txt": "s001.jpg", "s001.png.txt": "s001.png"}
    assert {path.name for path in folder.glob("shots/*.txt")} == set(beside)
    for name, image in beside.items():
        assert (folder / "shots" / name).read_text() == f"{answers[f'shots/{image}']}\n"


@pytest.mark.parametrize("name", ["x.txt", "boxes.json", "a.pdf"])
def test_a_copy_with_boxes_ends_like_an_image(run: Run, folder: Path, name: str) -> None:
    done = run("detect", "blocks.png", "--save", name)
    assert (done.returncode, (folder / name).exists()) == (2, False)
    assert f"--save {name}: no ending of an image" in done.stderr.decode()
    assert b".png" in done.stderr
