"""``ggufvlm classify`` as a person uses it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ggufvlm.cli.ask.classify_output import bar
from tests.cli.conftest import Run
from tests.support.scenes import COLORS, Block, Scene
from tests.support.tiffs import grey_page, tiff

LABELS = ",".join(COLORS)
RED = Scene("white", (Block("red", "square", (0.3, 0.2, 0.6, 0.6)),))
BLUE = Scene("black", (Block("blue", "square", (0.1, 0.3, 0.4, 0.7)),))


@pytest.fixture
def images(folder: Path) -> tuple[str, str]:
    RED.draw(196, 140).save(folder / "red.png")
    BLUE.draw(196, 140).save(folder / "blue.png")
    return "red.png", "blue.png"


ASK = ("-m", "demo", "--labels", LABELS, "-p", "What color is the square?")


def test_bars_in_a_pipe_are_numbers_most_probable_first(run: Run, images: tuple[str, str]) -> None:
    done = run("classify", "red.png", *ASK)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert [len(row) for row in rows] == [2] * len(COLORS)
    assert rows[0][0] == "red"
    shares = [float(share) for _, share in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9
    assert sum(shares) == pytest.approx(1, abs=0.001)


def test_several_images_are_named_and_in_order(run: Run, images: tuple[str, str]) -> None:
    lines = run("classify", *images, *ASK).stdout.decode().splitlines()
    assert (lines[0], lines[1].split()[0]) == ("red.png", "red")
    assert (lines[9], lines[10].split()[0]) == ("blue.png", "blue")


def test_json_lines(run: Run, images: tuple[str, str]) -> None:
    told = [json.loads(line) for line in run("classify", *images, *ASK, "--json").stdout.splitlines()]
    assert [(one["source"], one["label"]) for one in told] == [("red.png", "red"), ("blue.png", "blue")]
    for one in told:
        assert set(one["probabilities"]) == set(COLORS)
        assert sum(one["probabilities"].values()) == pytest.approx(1)
        assert one["coverage"] > 0.9


def test_csv_and_labels_from_a_file(run: Run, folder: Path, images: tuple[str, str]) -> None:
    (folder / "labels.txt").write_text("\n".join(COLORS) + "\n")
    done = run("classify", *images, "-m", "demo", "-l", "@labels.txt", "-p", "What color is the square?", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [(row["source"], row["label"]) for row in rows] == [("red.png", "red"), ("blue.png", "blue")]
    assert float(rows[1]["blue"]) > 0.9


def test_a_bad_image_among_others_is_named_and_the_rest_goes_on(
    run: Run, folder: Path, images: tuple[str, str]
) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    done = run("classify", "red.png", "broken.png", "blue.png", *ASK, "--json")
    assert done.returncode == 5
    assert done.stderr.decode().startswith("error: broken.png")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("label") for one in told] == ["red", None, "blue"]
    assert "broken.png" in told[1]["error"]
    assert run("classify", "broken.png", *ASK).returncode == 3


def test_colours_on_a_terminal_and_a_doubt_about_the_question(run: Run, images: tuple[str, str]) -> None:
    done = run("classify", "red.png", "-m", "demo", "-l", "cat,dog", "--color", "on")
    assert "█" in done.stdout.decode()
    assert b"would have answered with one of the labels in only" in done.stderr


def test_a_tiff_of_several_pages_is_refused_like_a_pdf(run: Run, folder: Path, images: tuple[str, str]) -> None:
    """Classes of the first page would pass for those of the file."""
    (folder / "scan.tif").write_bytes(tiff([grey_page(60, 90, level) for level in (10, 20, 30)]))
    alone = run("classify", "scan.tif", *ASK)
    assert (alone.returncode, alone.stdout) == (3, b"")
    lines = alone.stderr.decode().splitlines()
    assert lines[0] == "error: scan.tif: a TIFF of 3 pages, not an image"
    assert lines[1].startswith("hint: its pages can be asked about: ggufvlm describe")
    assert run("classify", "red.png", "scan.tif", *ASK).returncode == 5


def test_images_that_cannot_be_read_are_told_and_counted(run: Run, folder: Path, images: tuple[str, str]) -> None:
    for name in ("one.png", "two.png"):
        (folder / name).write_bytes(b"%PDF-1.7")
    done = run("classify", "one.png", "red.png", "two.png", *ASK, "--json")
    assert done.returncode == 5
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0] == {"source": "one.png", "error": "one.png: a PDF, not an image"}
    assert (told[1]["source"], told[1]["label"]) == ("red.png", "red")
    assert [line.split(":")[0] for line in done.stderr.decode().splitlines()] == ["error", "hint", "error"]
    assert run("classify", "one.png", "two.png", *ASK).returncode == 3, "as with a single one"


def test_labels_that_suit_no_image_are_doubted_once(run: Run, images: tuple[str, str]) -> None:
    done = run("classify", *images, "-m", "demo", "-l", "aardvark,zebra", "-p", "What color is the square?")
    assert done.returncode == 0
    assert done.stderr.decode().count("warning: ") == 1
    assert "red.png" in done.stderr.decode()


def test_several_classes(run: Run, images: tuple[str, str]) -> None:
    done = run("classify", "red.png", "-m", "demo", "-l", LABELS, "--multi", "-p", "Is there a {label} block?")
    rows = dict(line.split() for line in done.stdout.decode().splitlines())
    assert {label for label, share in rows.items() if float(share) > 0.5} == {"red"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing.png", *ASK), 3, "no such image: nothing.png"),
        (("a question", *ASK), 3, "the question goes through -p"),
        (("red.png", "-m", "demo", "-l", "one"), 2, "2 labels or more"),
        (("-", "red.png", "-", *ASK), 2, "one stdin"),
        (("red.png", "-m", "demo", "-l", "@none.txt"), 3, "none.txt"),
        (("red.png", *ASK, "--json", "--csv"), 2, "exclude each other"),
        (("red.png", "-m", "demo", "-l", "a,b", "--multi", "-p", "Is it?"), 2, "has to name the label"),
    ],
)
def test_wrong_usage(run: Run, images: tuple[str, str], arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run("classify", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()


@pytest.mark.parametrize(("share", "shown"), [(0, "    "), (1, "████"), (0.5, "██  "), (0.28, "█▏  ")])
def test_bars_are_always_as_wide(share: float, shown: str) -> None:
    assert bar(share, 4) == shown
