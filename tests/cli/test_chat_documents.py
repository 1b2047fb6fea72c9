"""PDFs and videos in a chat."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ggufvlm import VLM
from ggufvlm.chat.chat import Chat
from ggufvlm.media import pages
from tests.cli.conftest import Run
from tests.support.clips import write_clip, write_pdf
from tests.support.scenes import random_scene

SCENES = [random_scene(random.Random(seed), 196, 140) for seed in range(6)]
ASK = "Describe this image."


@pytest.fixture(autouse=True)
def documents(folder: Path) -> None:
    images = [scene.draw(196, 140) for scene in SCENES]
    images[0].save(folder / "six.tif", save_all=True, append_images=images[1:])
    write_pdf(folder / "six.pdf", images)
    write_clip(folder / "clip.mp4", [(2 * i, image) for i, image in enumerate(images)], 12)


def script(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def test_a_page_is_staged_like_an_image(run: Run) -> None:
    done = run("chat", input=script("/image six.pdf --pages 2", ASK))
    assert (done.returncode, done.stdout.decode().strip()) == (0, SCENES[1].caption), done.stderr
    assert "staged image 1: six.pdf page 2, 19" in done.stderr.decode()


def test_a_page_of_a_scan_is_staged_like_one_of_a_pdf(run: Run) -> None:
    done = run("chat", input=script("/image six.tif --pages 2", ASK))
    assert (done.returncode, done.stdout.decode().strip()) == (0, SCENES[1].caption), done.stderr
    assert "staged image 1: six.tif page 2, 19" in done.stderr.decode()
    done = run("chat", "six.tif", input=script("/images"))
    assert "staged images 1 to 6: six.tif page 1 to six.tif page 6" in done.stderr.decode()


def test_frames_in_the_words_of_the_command_line(run: Run) -> None:
    done = run("chat", input=script("/image clip.mp4 --every=6s", "/images"))
    said = done.stderr.decode()
    assert "staged image 1: clip.mp4 at 0:00.0" in said
    assert "staged image 2: clip.mp4 at 0:06.0" in said
    done = run("chat", input=script("/image clip.mp4 --frames 1", ASK))
    assert done.stdout.decode().strip() == SCENES[3].caption
    done = run("chat", input=script("/image clip.mp4 --scenes --frames 1", "/images"))
    assert "staged image 1: clip.mp4 at 0:0" in done.stderr.decode()


def test_many_pages_are_told_in_one_line(run: Run) -> None:
    done = run("chat", input=script("/image six.pdf blocks.png", "/images"))
    said = done.stderr.decode()
    assert "staged images 1 to 7: six.pdf page 1 to blocks.png" in said
    assert said.count("six.pdf page") == 1 + 6


def test_as_many_as_leave_room_to_talk(run: Run) -> None:
    done = run("chat", "-c", "260", input=script("/image six.pdf", ASK, ASK))
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "six.pdf: 3 of 6 pages fit: 1-3" in said


WRONG = {
    "/image blocks.png --pages 1": (2, "no PDF"),
    "/image six.pdf --frames 2": (2, "no video"),
    "/image six.pdf --pages": (2, "--pages of what"),
    "/image six.pdf --pages 9": (2, "beyond the end"),
    "/image clip.mp4 --frames many": (2, "many"),
    "/image clip.mp4 --every never": (2, "never"),
    "/image cut.pdf": (3, "cut.pdf"),
    "/image none.pdf": (3, "none.pdf"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_staged_is_told(run: Run, folder: Path, line: str) -> None:
    (folder / "cut.pdf").write_bytes((folder / "six.pdf").read_bytes()[:2000])
    done = run("chat", input=script(line))
    code, words = WRONG[line]
    assert done.returncode == code, done.stderr
    assert words in done.stderr.decode()


def test_a_saved_dialogue_keeps_its_pages(run: Run, folder: Path) -> None:
    run("chat", input=script("/image six.pdf --pages 3", ASK, "/save d.json"))
    done = run("chat", input=script("/load d.json", "/images", ASK))
    assert done.returncode == 0, done.stderr
    assert "six.pdf page 3" in done.stderr.decode()
    assert done.stdout.decode().strip() == SCENES[2].caption


def test_documents_as_arguments(run: Run) -> None:
    done = run("chat", "six.pdf", "--pages", "4", ASK)
    assert (done.returncode, done.stdout.decode().strip()) == (0, SCENES[3].caption), done.stderr
    done = run("chat", "clip.mp4", "blocks.png", "--frames", "2", input=script("/images"))
    assert "staged image 3: blocks.png" in done.stderr.decode()
    assert run("chat", "blocks.png", "--pages", "1").returncode == 2


def test_a_path_in_a_line_is_staged_too(run: Run) -> None:
    done = run("chat", input=script("six.pdf", "/images"))
    assert "staged images 1 to 6: six.pdf page 1 to six.pdf page 6" in done.stderr.decode()


def test_pages_stand_behind_their_numbers(demo: VLM, folder: Path) -> None:
    chat = Chat(demo)
    chat.stage(*pages(folder / "six.pdf", "2-3"))
    chat.send("What?")
    content = chat.messages[0].content
    assert [part for part in content if isinstance(part, str)] == ["[page 2]\n", "\n", "[page 3]\n", "\n", "What?"]
    chat.clear()
    chat.stage("blocks.png", next(pages("six.pdf", "2")))
    chat.send("What?")
    assert [part for part in chat.messages[0].content if isinstance(part, str)] == [
        "[six.pdf, page 2]\n",
        "\n",
        "What?",
    ]
    chat.clear()
    chat.stage(next(pages("six.pdf", "2")))
    chat.send("What?")
    assert len(chat.messages[0].content) == 2
