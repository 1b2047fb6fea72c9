"""Conversations that go on: what is kept of them, and what is not."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from ggufvlm import VLM, Chat
from ggufvlm.chat.kept import MAX_KEPT, Keeper, kept_conversations, kept_folder
from tests.cli.conftest import Run, shown_lines
from tests.support.program import see_program

LEFT, RIGHT = b"What is on the left?\n", b"What is on the right?\n"


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "state" / "ggufvlm" / "chats").glob("*"))


def test_a_conversation_goes_on_and_is_listed(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = pytest.importorskip("tests.support.terminal")
    chat = terminal.Terminal(folder, "chat", "blocks.png", XDG_STATE_HOME=str(folder / "state"))
    chat.enter("What is on the left?")
    assert chat.leave() == 0
    again = terminal.Terminal(folder, "chat", "--continue", XDG_STATE_HOME=str(folder / "state"))
    again.see("the last question: What is on the left?")
    again.enter("What is on the right?")
    assert again.answer_to("What is on the right?") == "The red square."
    assert again.leave() == 0
    (file,) = kept(folder)
    written, code = see_program("chat", "--list", folder=folder)
    lines = [line for line in shown_lines(written, 80) if line]
    assert (lines[0], code) == (f"{file.stem}  demo  2 turns  What is on the left?", 0)
    assert lines[1:] == ["ggufvlm chat --continue goes on with the first, ggufvlm chat NAME with another"]


def test_what_is_kept_is_private_and_holds_no_image(run: Run, folder: Path) -> None:
    script = LEFT + b"/crop 0 0 50% 50%\nDescribe this image.\n"
    assert run("chat", "blocks.png", input=script).returncode == 0
    (file,) = kept(folder)
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    whole, part = (
        item
        for message in json.loads(file.read_text())["messages"]
        for item in message["content"]
        if isinstance(item, dict) and item["type"] == "image"
    )
    assert whole["path"] == str(folder / "blocks.png")
    assert len(whole["sha256"]) == 64
    assert part["path"] is None
    gone_on = run("chat", "--continue", input=b"/drop 2\n" + RIGHT)
    assert gone_on.stdout == b"The red square.\n"
    assert b"image 2 is missing: it was no file, and no copy of it is kept" in gone_on.stderr


def test_other_ways_to_go_on(run: Run, folder: Path) -> None:
    run("chat", "blocks.png", "-q", input=LEFT + b"/save mine.json\n")
    saved = (folder / "mine.json").read_bytes()
    assert run("chat", "mine.json", input=RIGHT).stdout == b"The red square.\n"
    assert (folder / "mine.json").read_bytes() == saved, "a file of the user's own is left as it is"
    first, second = (conversation.stem for conversation in kept(folder))
    assert run("chat", first, "What is on the right?").stdout == b"The red square.\n"
    listed = run("chat", "--list").stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == [first, second], "the newest first"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.json"], "error: no such file: gone.json\nhint: ggufvlm chat --list shows what is kept\n"),
        (["other.json"], "error: other.json: not a saved dialogue\n"),
        (["--continue"], "error: no conversation is kept yet\n"),
    ],
)
def test_what_cannot_go_on(run: Run, folder: Path, arguments: list[str], words: str) -> None:
    (folder / "other.json").write_text("{}")
    done = run("chat", *arguments)
    assert done.returncode in (2, 3)
    assert (done.stdout, done.stderr.decode()) == (b"", words)


def test_nothing_is_kept_for_who_does_not_wish_it(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGUFVLM_NOHISTORY", "1")
    assert run("chat", "blocks.png", input=LEFT).returncode == 0
    assert kept(folder) == []
    assert run("chat", "--list").stderr == b"no conversation is kept yet\n"


def test_the_model_that_answered_answers_again(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Path(sys.modules["ggufvlm"].__file__ or "").parent / "demo"
    for file in demo.glob("*.gguf"):
        shutil.copy(file, folder)
    monkeypatch.delenv("GGUFVLM_MODEL")
    run("chat", "blocks.png", "-m", "tiny-qwen2vl-Q8_0.gguf", input=LEFT)
    assert run("chat", "--continue", input=RIGHT).stdout == b"The red square.\n"


def test_a_bounded_number_is_kept_and_scripts_go_first(demo: VLM, folder: Path) -> None:
    chat = Chat(demo)
    chat.send("Hello")
    script, person = Keeper(is_script=True), Keeper()
    script.keep(chat)
    person.keep(chat)
    (of_person,) = [each.path for each in kept_conversations() if "script" not in each.path.stem]
    for number in range(MAX_KEPT):
        other = kept_folder() / f"20260101-000000-{number:04}.json"
        shutil.copy(of_person, other)
        os.utime(other, (number, number))
    person.keep(chat)
    names = [each.path.stem for each in kept_conversations()]
    assert len(names) == MAX_KEPT
    assert not any("script" in name for name in names)
    assert of_person.stem == names[0]
    assert "20260101-000000-0000" not in names
