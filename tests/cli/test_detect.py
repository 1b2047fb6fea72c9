"""``ggufvlm detect``: boxes on stdout, words on stderr, files for other programs, images with boxes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import ggufvlm
from ggufvlm.cli.main import main
from tests.cli.conftest import SCENE, Run
from tests.support.scenes import COLORS
from tests.support.terminal import Terminal
from tests.support.tiffs import grey_page, tiff
from tests.vlm.test_scenes import overlap

NAMES = ["blue column", "red square"]
TRUE = {block.name: tuple(140 * side for side in block.box) for block in SCENE.blocks}


def is_near(box: tuple[float, ...], name: str) -> bool:
    """Whether it can be no other block's: this small image is not the model's best."""
    return overlap(box, TRUE[name]) > 0.4


def lines_of(done: subprocess.CompletedProcess[bytes]) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


def test_a_line_a_box_in_a_pipe(run: Run) -> None:
    done = run("detect", "blocks.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line[0] for line in lines_of(done)] == NAMES
    for label, *corners, source in lines_of(done):
        assert source == "blocks.png"
        assert is_near(tuple(map(float, corners)), label)


def test_labels_choose_and_what_is_missing_is_said(run: Run) -> None:
    done = run("detect", "blocks.png", "square", "green bar")
    assert [line[0] for line in lines_of(done)] == ["square"]
    words = done.stderr.decode()
    assert "not found: green bar" in words
    assert "left out: blue column" in words
    quiet = run("detect", "blocks.png", "square", "green bar", "-q")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, b"")


def test_labels_by_option_and_from_a_file(run: Run, folder: Path) -> None:
    (folder / "labels.txt").write_text("red square\n\nblue column\n")
    expected = run("detect", "blocks.png", *NAMES).stdout
    assert expected
    assert run("detect", "blocks.png", "-l", "red square,blue column").stdout == expected
    assert run("detect", "blocks.png", "-l", "@labels.txt").stdout == expected


def test_nothing_found_is_no_error(run: Run) -> None:
    done = run("detect", "blocks.png", "cat")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"nothing found (cat)" in done.stderr
    listed = run("detect", "blocks.png", "cat", "--json")
    assert (listed.returncode, json.loads(listed.stdout)["boxes"]) == (0, [])


def test_json_is_an_object_an_image(run: Run, folder: Path) -> None:
    SCENE.draw(280, 140).save(folder / "wide.png")
    done = run("detect", "blocks.png", "wide.png", "--json")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["source"], first["width"], second["source"], second["width"]) == ("blocks.png", 140, "wide.png", 280)
    assert [box["label"] for box in first["boxes"]] == NAMES
    assert (first["seen_width"], first["seen_height"], first["n_tokens"]) == (140, 140, 25)
    assert (first["finish_reason"], first["model"], first["n_dropped"]) == ("stop", "demo", 0)
    assert "bbox_2d" in first["text"]


def test_coco_of_a_folder(run: Run, folder: Path) -> None:
    (folder / "shots").mkdir()
    for name in ("1.png", "2.png", "10.png"):
        SCENE.draw(140, 140).save(folder / "shots" / name)
    done = run("detect", "shots", "red square", "--format", "coco", "-o", "boxes.json", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    document = json.loads((folder / "boxes.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["1.png", "2.png", "10.png"]
    assert document["categories"] == [{"id": 1, "name": "red square"}]
    assert [box["image_id"] for box in document["annotations"]] == [1, 2, 3]
    left, top, width, height = document["annotations"][0]["bbox"]
    assert is_near((left, top, left + width, top + height), "red square")
    assert json.loads(run("detect", "shots", "red square", "--format", "coco").stdout) == document


def test_yolo_of_a_folder(run: Run, folder: Path) -> None:
    (folder / "shots").mkdir()
    for name in ("1.png", "2.png"):
        SCENE.draw(140, 140).save(folder / "shots" / name)
    done = run("detect", "shots/*.png", "--format", "yolo", "-o", "set")
    assert done.returncode == 0
    assert (folder / "set" / "classes.txt").read_text() == "blue column\nred square\n"
    lines = (folder / "set" / "labels" / "2.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    x, y, w, h = (140 * float(number) for number in lines[1].split()[1:])
    assert is_near((x - w / 2, y - h / 2, x + w / 2, y + h / 2), "red square")


@pytest.mark.parametrize(
    ("kind", "hand_made"),
    [("labelme", "set/blocks.json"), ("yolo", "set/labels/blocks.txt"), ("yolo", "set/classes.txt")],
)
def test_labels_made_by_hand_stay(run: Run, folder: Path, kind: str, hand_made: str) -> None:
    path = folder / hand_made
    path.parent.mkdir(parents=True)
    path.write_text("by hand")
    done = run("detect", "blocks.png", "-f", kind, "-o", "set")
    assert (done.returncode, path.read_text()) == (2, "by hand")
    assert f"{hand_made}: there already" in done.stderr.decode()
    assert b"--overwrite" in done.stderr
    assert run("detect", "blocks.png", "-f", kind, "-o", "set", "--overwrite").returncode == 0
    assert path.read_text() != "by hand"


@pytest.mark.parametrize("out", ["-o", "--save"])
@pytest.mark.parametrize("name", ["blocks.png", "link.png", "pipe.png"])
def test_nothing_is_written_over_an_image_or_into_a_pipe(run: Run, folder: Path, out: str, name: str) -> None:
    before = (folder / "blocks.png").read_bytes()
    (folder / "link.png").symlink_to("blocks.png")
    os.mkfifo(folder / "pipe.png")
    done = run("detect", "blocks.png", out, name)
    assert (done.returncode, (folder / "blocks.png").read_bytes()) == (2, before)
    assert name in done.stderr.decode().splitlines()[0]


def test_labelme_beside_an_image(run: Run, folder: Path) -> None:
    assert run("detect", "blocks.png", "--format", "labelme", "-o", "out/blocks.json").returncode == 0
    document = json.loads((folder / "out" / "blocks.json").read_text())
    assert [shape["label"] for shape in document["shapes"]] == NAMES
    assert (folder / "out" / document["imagePath"]).resolve() == (folder / "blocks.png").resolve()
    assert json.loads(run("detect", "blocks.png", "-f", "labelme").stdout)["imagePath"] == "blocks.png"


def test_images_with_boxes(run: Run, folder: Path) -> None:
    done = run("detect", "blocks.png", "--save", "out.png")
    assert b"saved out.png" in done.stderr
    with Image.open(folder / "blocks.png") as before, Image.open(folder / "out.png") as after:
        assert before.size == (140, 140)
        assert after.size == (420, 420)  # small images are made larger, for the names
        colors = {color for _, color in after.convert("RGB").getcolors(100_000) or ()}
        assert COLORS["red"] in colors
        assert len(colors) > len(before.convert("RGB").getcolors(100_000) or ())
    SCENE.draw(600, 600).save(folder / "large.jpg")
    assert run("detect", "blocks.png", "large.jpg", "--save", "drawn").returncode == 0
    assert {path.name for path in (folder / "drawn").iterdir()} == {"blocks.png", "large.jpg"}
    with Image.open(folder / "drawn" / "large.jpg") as large:
        assert (large.size, large.format) == ((600, 600), "JPEG")


def test_stdin_and_stats(run: Run, folder: Path) -> None:
    done = run("detect", "-", "--stats", input=(folder / "blocks.png").read_bytes())
    assert [line[0] for line in lines_of(done)] == NAMES
    assert b"140x140" in done.stderr
    assert b"25 tokens" in done.stderr


BAD = {
    "an image that is not there": (["foo.jpg", "cat"], 3, "no such image: foo.jpg"),
    "no image": (["cat"], 2, "no image given"),
    "an image behind a label": (["blocks.png", "cat", "blocks.png"], 2, 'behind the label "cat"'),
    "a missing image behind a label": (["blocks.png", "cat", "b.png"], 3, "no such image: b.png"),
    "an empty label": (["blocks.png", "cat", " "], 2, "label is empty"),
    "a text file": (["notes.txt", "cat"], 3, "notes.txt"),
    "a file of labels that is not there": (["blocks.png", "-l", "@none.txt"], 3, "none.txt"),
    "a model without boxes": (["blocks.png", "-m", "smolvlm-500m"], 2, "smolvlm-500m cannot say where"),
    "an unknown model": (["blocks.png", "-m", "qwen2-vl-2bb"], 4, "qwen2-vl-2bb"),
    "an unknown convention": (["blocks.png", "--convention", "mine"], 2, "qwen3_rel1000"),
    "points of a family without": (["blocks.png", "--points"], 2, "no points"),
    "points in a format without": (["blocks.png", "--points", "-f", "yolo"], 2, "yolo"),
    "two formats": (["blocks.png", "--json", "-f", "coco"], 2, "--json and --format coco"),
    "yolo of two images on stdout": (["blocks.png", "two.png", "-f", "yolo"], 2, "-o FOLDER"),
    "yolo of one name": (["blocks.png", "sub/blocks.jpg", "-f", "yolo", "-o", "x"], 2, "the same file"),
    "a folder for one file": (["blocks.png", "-f", "coco", "-o", "sub"], 2, "sub is a folder"),
    "a file for a folder": (["blocks.png", "two.png", "-f", "yolo", "-o", "notes.txt"], 2, "notes.txt is no folder"),
    "one copy of two images": (["blocks.png", "two.png", "--save", "x.png"], 2, "need a folder"),
    "a copy over the image": (["blocks.png", "--save", "blocks.png"], 2, "write over blocks.png itself"),
    "copies over the images": (["blocks.png", "two.png", "--save", "."], 2, "write over blocks.png itself"),
    "a place that cannot be written": (["blocks.png", "-o", "notes.txt/x.tsv"], 1, "notes.txt"),
    "a copy that cannot be written": (["blocks.png", "--save", "notes.txt/x.png"], 1, "notes.txt"),
    "a negative temperature": (["blocks.png", "--temp", "-1"], 2, "temperature"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line_and_a_code(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "notes.txt").write_text("not an image")
    (folder / "sub").mkdir()
    SCENE.draw(140, 140).save(folder / "sub" / "blocks.jpg")
    SCENE.draw(140, 140).save(folder / "two.png")
    before = (folder / "blocks.png").read_bytes()
    arguments, code, words = BAD[name]
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    monkeypatch.setattr(sys, "argv", ["ggufvlm", "detect", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfdbinary.readouterr()
    errors = captured.err.decode().splitlines()
    assert ended.value.code == code, errors
    assert captured.out == b""
    assert words in " ".join(errors)
    assert "Traceback" not in " ".join(errors)
    assert len(errors) <= 2
    assert (folder / "blocks.png").read_bytes() == before


def test_a_bad_image_among_good_ones(run: Run, folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"no image")
    done = run("detect", "blocks.png", "bad.png")
    assert done.returncode == 5
    assert [line[0] for line in lines_of(done)] == NAMES
    assert b"error: bad.png" in done.stderr
    assert run("detect", "bad.png", "bad.png").returncode == 3


def test_a_tiff_of_several_pages_is_refused_like_a_pdf(run: Run, folder: Path) -> None:
    """Boxes of the first page would pass for those of the file."""
    (folder / "scan.tif").write_bytes(tiff([grey_page(60, 90, level) for level in (10, 20, 30)]))
    alone = run("detect", "scan.tif")
    assert (alone.returncode, alone.stdout) == (3, b"")
    lines = alone.stderr.decode().splitlines()
    assert lines[0] == "error: scan.tif: a TIFF of 3 pages, not an image"
    assert lines[1].startswith("hint: its pages can be asked about: ggufvlm describe")
    assert run("detect", "blocks.png", "scan.tif").returncode == 5


def test_what_failed_is_in_the_json_too_and_a_hint_is_given_once(run: Run, folder: Path) -> None:
    for name in ("one.png", "two.png"):
        (folder / name).write_bytes(b"%PDF-1.7")
    done = run("detect", "one.png", "blocks.png", "two.png", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["source"] for one in told] == ["one.png", "blocks.png", "two.png"]
    assert told[0] == {"source": "one.png", "error": "one.png: a PDF, not an image"}
    assert [box["label"] for box in told[1]["boxes"]] == NAMES
    words = done.stderr.decode().splitlines()
    assert [line.split(":")[0] for line in words] == ["error", "hint", "error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
def test_a_copy_for_which_there_is_no_room(run: Run, folder: Path) -> None:
    (folder / "copy.png").symlink_to("/dev/full")
    done = run("detect", "blocks.png", "--save", "copy.png")
    assert (done.returncode, b"copy.png: cannot be written" in done.stderr) == (1, True), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are tested on POSIX")
def test_errors_are_not_written_into_the_progress_line(folder: Path) -> None:
    for number in range(60):
        (folder / f"{number}.png").write_bytes((folder / "blocks.png").read_bytes())
        (folder / f"{number}_bad.png").write_bytes(b"no image")
    command = ["/bin/sh", "-c", f"{sys.executable} -m ggufvlm detect . > boxes.tsv"]
    terminal = Terminal(folder, program=command)
    assert terminal.end() == 5
    assert b"looking for objects" in terminal.written
    told = [line for line in terminal.lines if "error: " in line]
    assert len(told) == 60
    assert all(line.startswith("error: ") for line in told), told


def test_an_answer_in_circles_keeps_what_was_found(run: Run, stuck: list[str]) -> None:
    done = run("detect", *stuck, "-n", "1500", "--json", "--convention", "json_rel1000")
    assert done.returncode == 6
    assert json.loads(done.stdout)["finish_reason"] == "repetition"
    assert b"fell into a repetition loop" in done.stderr


def test_a_cut_answer_gives_what_is_whole_and_counts_the_rest(run: Run) -> None:
    whole = lines_of(run("detect", "blocks.png"))
    done = run("detect", "blocks.png", "-n", "45")
    assert lines_of(done) == whole[:1]
    words = done.stderr.decode()
    assert "1 mark of the answer" in words
    assert "cut after 45 tokens" in words


def test_a_table_on_a_terminal(folder: Path) -> None:
    terminal = Terminal(folder, "detect", "blocks.png", columns=100)
    assert terminal.end() == 0
    assert "object" in terminal.flat
    assert "bottom" in terminal.flat
    assert "│ red square" in terminal.flat
    assert "blocks.png 140x140" in terminal.flat


@pytest.mark.parametrize(("columns", "shown"), [(52, "bottom"), (40, "red square: ")])
def test_no_number_is_lost_on_a_narrow_terminal(folder: Path, run: Run, columns: int, shown: str) -> None:
    terminal = Terminal(folder, "detect", "blocks.png", columns=columns)
    assert terminal.end() == 0
    assert shown in terminal.flat
    for label, *corners, _ in lines_of(run("detect", "blocks.png")):
        row = next(line for line in terminal.lines if label in line)
        assert [word for word in row.replace("│", " ").split() if word.isdecimal()][:4] == corners


def test_names_of_an_image_are_no_markup(folder: Path) -> None:
    SCENE.draw(140, 140).save(folder / "[red]x[bold].png")
    terminal = Terminal(folder, "detect", "[red]x[bold].png", "column", columns=100)
    assert terminal.end() == 0
    assert "[red]x[bold].png 140x140" in terminal.flat


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_was_found(folder: Path) -> None:
    for number in range(400):
        os.link(folder / "blocks.png", folder / f"{number}.png")
    command = [sys.executable, "-m", "ggufvlm", "detect", ".", "-f", "coco", "-o", "boxes.json", "--save", "drawn"]
    environment = {**os.environ, "GGUFVLM_MODEL": "demo"}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (folder / "drawn" / "1.png").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"interrupted" in process.stderr.read()
    assert process.returncode == 130
    n_found = len(json.loads((folder / "boxes.json").read_text())["images"])
    assert 0 < n_found < 401


def test_a_fine_tune_of_one_s_own(run: Run, folder: Path) -> None:
    demo = Path(ggufvlm.__file__).parent / "demo"
    (folder / "mine.gguf").write_bytes((demo / "tiny-qwen2vl-Q8_0.gguf").read_bytes())
    (folder / "mine-mmproj.gguf").write_bytes((demo / "mmproj-tiny-qwen2vl-F16.gguf").read_bytes())
    pair = ["-m", "mine.gguf", "--mmproj", "mine-mmproj.gguf", "--image-max-tokens", "42"]
    done = run("detect", "blocks.png", *pair, "--convention", "json_rel1000")
    assert [line[0] for line in lines_of(done)] == NAMES
    asked = run("detect", "blocks.png", *pair, "-p", "Detect all objects.", "red square")
    assert [line[0] for line in lines_of(asked)] == ["red square"]
