"""``ggufvlm ocr``: pages on stdout, words on stderr, exit codes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.media.test_pdf import LOCKED, NO_PAGES, text_report
from tests.support.clips import plain, write_clip, write_pdf
from tests.support.scenes import random_scene
from tests.support.terminal import Terminal

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(5)]
CAPTIONS = [scene.caption for scene in SCENES]
ASK = ["-p", "Describe this image."]


@pytest.fixture(autouse=True)
def documents(folder: Path) -> None:
    write_pdf(folder / "five.pdf", [scene.draw(196, 140) for scene in SCENES])
    (folder / "report.pdf").write_bytes(text_report(30))


def test_pages_in_order_with_form_feeds_between_them(run: Run) -> None:
    done = run("ocr", "five.pdf", *ASK)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "\n\f".join(CAPTIONS) + "\n"
    assert run("ocr", "five.pdf", "--pages", "2", *ASK).stdout.decode() == f"{CAPTIONS[1]}\n"


def test_markdown_names_each_page(run: Run, folder: Path) -> None:
    SCENES[4].draw(196, 140).save(folder / "scan.png")
    done = run("ocr", "five.pdf", "scan.png", "--pages", "1-2", "--format", "markdown", *ASK)
    assert done.stdout.decode() == (
        f"<!-- five.pdf page 1 -->\n\n{CAPTIONS[0]}\n\n<!-- five.pdf page 2 -->\n\n{CAPTIONS[1]}\n\n"
        f"<!-- scan.png -->\n\n{CAPTIONS[4]}\n"
    )
    joined = run("ocr", "five.pdf", "--join", "--pages", "1-2", *ASK).stdout.decode()
    assert joined == f"{CAPTIONS[0]}\n\n{CAPTIONS[1]}\n"


def test_a_file_in_place_of_stdout(run: Run, folder: Path) -> None:
    done = run("ocr", "five.pdf", "-o", "five.md", *ASK)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"five.md: 5 pages\n")
    text = (folder / "five.md").read_text()
    assert text.startswith(f"<!-- five.pdf page 1 -->\n\n{CAPTIONS[0]}\n"), "-o FILE.md means Markdown"
    assert run("ocr", "five.pdf", "-o", "no/such/folder.txt", *ASK).returncode == 1
    done = run("ocr", "five.pdf", "-o", "five.pdf", *ASK)
    assert done.returncode == 2
    assert (folder / "five.pdf").read_bytes().startswith(b"%PDF")


def test_json_has_all_pages(run: Run) -> None:
    done = run("ocr", "five.pdf", "--pages", "2-3", "--json", *ASK)
    envelope = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert (envelope["model"], envelope["format"]) == ("demo", "text")
    assert envelope["text"] == f"{CAPTIONS[1]}\n\f{CAPTIONS[2]}\n"
    assert [page["text"] for page in envelope["pages"]] == CAPTIONS[1:3]
    first = envelope["pages"][0]
    assert (first["source"], first["file"], first["page"]) == ("five.pdf page 2", "five.pdf", 2)
    assert (first["finish_reason"], first["rotation"], first["n_retries"], first["error"]) == ("stop", 0, 0, None)
    assert first["n_tokens"] > 5
    assert 0.5 < first["confidence"] <= 1


def test_the_text_of_a_pdf_without_a_model(run: Run) -> None:
    """No model of this name exists: none is looked for."""
    arguments = ["ocr", "report.pdf", "--text-layer", "prefer", "-m", "no-such-model"]
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "\n\f".join(f"Page {n}" for n in range(1, 31)) + "\n"
    assert run(*arguments, "--pages", "9-11", "--drop-repeated").stdout == b"\f\f"
    done = run("ocr", "report.pdf", "--pages", "1-2", *ASK)
    assert b"2 of 2 pages carry their text: --text-layer prefer" in done.stderr
    assert run("ocr", "report.pdf", "--pages", "1-2", "-q", *ASK).stderr == b""


def test_turned_pages(run: Run, folder: Path) -> None:
    from PIL import Image

    SCENES[1].draw(196, 140).transpose(Image.Transpose.ROTATE_90).save(folder / "side.png")
    assert run("ocr", "side.png", "--rotate", "90", *ASK).stdout.decode() == f"{CAPTIONS[1]}\n"
    upright = json.loads(run("ocr", "five.pdf", "--rotate", "auto", "--json", *ASK).stdout)
    assert [page["rotation"] for page in upright["pages"]] == [0] * 5


BAD = {
    "a missing file": (["none.pdf"], 3, "none.pdf"),
    "a sentence": (["read this"], 3, "no such file"),
    "a damaged PDF": (["cut.pdf"], 3, "cut.pdf: damaged PDF"),
    "an encrypted PDF": (["locked.pdf"], 3, "locked.pdf: the PDF asks for a password"),
    "an empty file": (["empty.pdf"], 3, "empty.pdf"),
    "no pages": (["nopages.pdf"], 3, "nopages.pdf"),
    "two that are damaged": (["locked.pdf", "cut.pdf"], 3, "locked.pdf"),
    "a temperature, before a model is looked for": (["five.pdf", "--temp", "-1", "-m", "none"], 2, "temperature"),
    "a folder without pages": (["empty"], 3, "no images and no PDFs"),
    "a video": (["clip.mp4"], 3, "a video"),
    "pages of an image": (["blocks.png", "--pages", "1"], 2, "no PDF"),
    "an unknown model": (["five.pdf", "-m", "qwen2-vl-2bb"], 4, "qwen2-vl-2bb"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_get_one_clear_line_and_a_code(run: Run, folder: Path, name: str) -> None:
    (folder / "cut.pdf").write_bytes((folder / "five.pdf").read_bytes()[:400])
    (folder / "locked.pdf").write_bytes(LOCKED)
    (folder / "nopages.pdf").write_bytes(NO_PAGES)
    (folder / "empty.pdf").touch()
    (folder / "empty").mkdir()
    write_clip(folder / "clip.mp4", [(0, plain((255, 0, 0)))], 1)
    arguments, code, words = BAD[name]
    done = run("ocr", *arguments)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b""), lines
    assert words in " ".join(lines)
    assert "Traceback" not in " ".join(lines)
    if lines[0].startswith("error:"):
        assert len(lines) <= 2


def test_good_pages_come_in_spite_of_a_bad_one(run: Run, folder: Path) -> None:
    for n, scene in enumerate(SCENES[:3]):
        scene.draw(196, 140).save(folder / f"{n}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:90])
    done = run("ocr", "0.png", "1.png", "2.png", *ASK)
    assert done.returncode == 5
    assert done.stdout.decode() == f"{CAPTIONS[0]}\n\f{CAPTIONS[2]}\n"
    assert [line.split(":")[0] for line in done.stderr.decode().splitlines()] == ["error", "hint"]
    assert done.stderr.decode().startswith("error: 1.png")


def test_good_documents_are_read_in_spite_of_a_bad_one(run: Run, folder: Path) -> None:
    write_clip(folder / "clip.mp4", [(0, plain((255, 0, 0)))], 1)
    (folder / "cut.pdf").write_bytes((folder / "five.pdf").read_bytes()[:400])
    (folder / "links").mkdir()
    (folder / "links" / "gone.png").symlink_to("nowhere.png")
    done = run("ocr", "cut.pdf", "five.pdf", "clip.mp4", "links", "--pages", "1-2", *ASK)
    assert done.returncode == 5
    assert done.stdout.decode() == f"{CAPTIONS[0]}\n\f{CAPTIONS[1]}\n"
    told = done.stderr.decode()
    assert "error: cut.pdf: damaged PDF" in told
    assert "error: clip.mp4: a video" in told
    assert "gone.png: a link to a file that is not there" in told, "of a folder nothing is passed over in silence"
    pages = json.loads(run("ocr", "cut.pdf", "five.pdf", "--pages", "1", "--json", *ASK).stdout)["pages"]
    assert [(page["source"], page["error"] is None) for page in pages] == [
        ("cut.pdf", False),
        ("five.pdf page 1", True),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("more", [[], ["--join"], ["--json"]])
def test_a_result_for_which_there_is_no_room(run: Run, more: list[str]) -> None:
    done = run("ocr", "five.pdf", "-o", "/dev/full", *more, *ASK)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == ["error: /dev/full: cannot be written (No space left on device)"]


def test_a_loop_is_given_up_marked_and_has_its_own_exit_code(run: Run, stuck: list[str]) -> None:
    done = run("ocr", *stuck, "--retries", "0")
    assert done.returncode == 6, done.stderr
    assert done.stdout.endswith(b"\n\n[blocks.png: the model fell into a repetition loop, the rest is missing]\n")
    assert len(done.stdout) < 100
    assert done.stderr.startswith(b"warning: blocks.png: cut as a repetition loop")
    marked = run("ocr", *stuck, "--retries", "0", "--format", "markdown", "-q")
    assert marked.stdout.endswith(b"<!-- blocks.png: the model fell into a repetition loop, the rest is missing -->\n")
    assert marked.stderr == b""
    again = run("ocr", *stuck, "-n", "120", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["pages"][0]["n_retries"] == 1


def test_a_cut_answer_warns(run: Run) -> None:
    done = run("ocr", "five.pdf", "--pages", "1", "-n", "3", *ASK)
    assert done.returncode == 0
    assert done.stderr == b"warning: five.pdf page 1: cut after 3 tokens; -n raises the limit\n"


def test_a_pdf_from_stdin(run: Run, folder: Path) -> None:
    data = (folder / "five.pdf").read_bytes()
    assert run("ocr", "-", "--pages", "5", *ASK, input=data).stdout.decode() == f"{CAPTIONS[4]}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_ctrl_c_keeps_the_pages_that_were_read(folder: Path) -> None:
    command = [sys.executable, "-m", "ggufvlm", "ocr", *["five.pdf"] * 200, *ASK, "-m", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        said = os.read(child.stdout.fileno(), 20)
        child.send_signal(signal.SIGINT)
        said += child.stdout.read()
        errors = child.stderr.read().decode()
    assert child.returncode == 130, errors
    pages = said.decode().split("\n\f")
    assert all(page == CAPTIONS[n % 5] for n, page in enumerate(pages[:-1]))
    assert errors == f"interrupted; {len(pages)} of 1000 pages were read\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_on_a_terminal_pages_have_names_and_no_form_feeds(folder: Path) -> None:
    terminal = Terminal(folder, "ocr", "five.pdf", "--pages", "1-3", *ASK)
    assert terminal.end() == 0
    assert terminal.flat == " ".join(f"[five.pdf page {n + 1}] {CAPTIONS[n]}" for n in range(3))
    assert b"\f" not in terminal.written
