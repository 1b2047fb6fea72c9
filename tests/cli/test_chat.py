"""``ggufvlm chat`` as a person sees it: whole sessions on a pseudo-terminal."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("pexpect", reason="pseudo-terminals are tested on POSIX")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are tested on POSIX", allow_module_level=True)

import ggufvlm
from tests.cli.conftest import SCENE
from tests.support.terminal import CTRL_C, CTRL_D, ENTER, TAB, UP, Terminal

WHERE, COUNT, CAPTION = "What is on the left?", "How many blocks are there?", "Describe the image."
COLORS = re.compile(r"\x1b\[(?:\d+;)*[34]\d[;m]")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_whole_session(folder: Path, columns: int) -> None:
    chat = Terminal(folder, "chat", "-m", "demo", "--temp", "0", columns=columns)
    chat.enter("/image blocks.png")
    chat.see("staged image 1: blocks.png, 140x140")
    assert chat.status.startswith("demo · ")
    chat.enter(WHERE)
    assert chat.answer_to(WHERE) == "The blue column."
    chat.enter(COUNT)
    assert chat.answer_to(COUNT) == "2."
    chat.enter("/undo")
    chat.enter(CAPTION)
    first = chat.answer_to(CAPTION)
    assert first == SCENE.caption
    chat.enter("/regen")
    assert chat.answer_to("/regen") == first, "at temperature 0"
    chat.enter("/undo")
    chat.see("1 turn left")
    chat.enter("/images")
    chat.see("1 turn 1 140x140 25 tokens blocks.png")
    chat.enter("/hlep")
    chat.see("did you mean /help?")
    assert "of 4096 tokens · 1 image" in chat.status
    assert all(len(line) <= columns for line in chat.lines)
    broken = [line for line in chat.lines if re.search(r"\w$", line) and len(line) == columns]
    assert not broken, "no word is broken at the edge"
    assert chat.leave() == 0


@pytest.mark.slow
def test_save_and_load_in_a_new_process_give_the_same_next_answer(folder: Path) -> None:
    one = Terminal(folder, "chat", "blocks.png")
    one.enter(WHERE)
    one.enter("/save talk.json")
    one.see("saved 1 turn to talk.json")
    one.enter(CAPTION)
    assert one.leave() == 0
    two = Terminal(folder, "chat")
    two.enter("/load talk.json")
    two.see("loaded 1 turn with 1 image")
    two.enter(CAPTION)
    assert two.answer_to(CAPTION) == one.answer_to(CAPTION) == SCENE.caption
    assert two.leave() == 0


def test_ctrl_c_stops_the_answer_and_keeps_it_and_a_second_one_leaves(folder: Path, stuck: list[str]) -> None:
    chat = Terminal(folder, "chat", *stuck, "-n", "-1", "--no-repetition-guard")
    chat.wait_for_prompt()
    chat.type("Hello")
    chat.press(ENTER)
    chat.see("!!!!!!!!")
    chat.press(CTRL_C)
    chat.wait_for_prompt()
    assert set(chat.answer_to("Hello")) == {"!", " "} or set(chat.answer_to("Hello")) == {"!"}
    chat.enter("/save talk.json")
    (_, answered) = json.loads((folder / "talk.json").read_text())["messages"]
    assert answered["finish_reason"] == "abort"
    assert "".join(chat.answer_to("Hello").split("/save")[0].split()) == answered["content"], "what is seen is kept"
    chat.type("Again")
    chat.press(ENTER)
    chat.wait(lambda: "!!!!" in chat.answer_to("Again"), "second answer")
    chat.press(CTRL_C)
    chat.wait_for_prompt()
    chat.press(CTRL_C)
    assert chat.end() == 0
    assert "Traceback" not in chat.text


def test_ctrl_c_at_the_prompt(folder: Path) -> None:
    chat = Terminal(folder, "chat")
    chat.wait_for_prompt()
    chat.type("half a question")
    chat.press(CTRL_C)
    chat.wait_for_prompt()
    chat.press(CTRL_C)
    chat.see("Ctrl-C again, or Ctrl-D, leaves")
    chat.enter("/images")
    chat.press(CTRL_C)
    chat.wait(lambda: chat.text.count("Ctrl-C again") == 2, "second hint")
    chat.wait_for_prompt()
    chat.press(CTRL_C)
    assert chat.end() == 0


def test_errors_say_one_thing_and_the_session_goes_on(folder: Path) -> None:
    (folder / "cut.png").write_bytes((folder / "blocks.png").read_bytes()[:120])
    chat = Terminal(folder, "chat", columns=100)
    chat.enter("/image cut.png")
    chat.see("error: cut.png")
    chat.enter("/image foo.png")
    chat.see("no such image: foo.png")
    chat.enter("/model nonsense")
    chat.see("unknown model: nonsense")
    chat.type(f"{WHERE} bloks.png")
    chat.press(ENTER)
    chat.see("no such image: bloks.png")
    chat.wait(lambda: chat.current_line == f"> {WHERE} bloks.png", "the message in the line again")
    chat.press("\x7f" * len("bloks.png"))
    chat.wait(lambda: chat.current_line == f"> {WHERE}", "the mended message")
    chat.press("blocks.png" + ENTER)
    chat.wait_for_prompt()
    assert chat.answer_to(f"{WHERE} blocks.png").endswith("The blue column.")
    assert chat.leave() == 0
    assert "Traceback" not in chat.text


def test_a_pasted_path_is_staged(folder: Path) -> None:
    (folder / "my blocks.png").write_bytes((folder / "blocks.png").read_bytes())
    chat = Terminal(folder, "chat", columns=120)
    chat.wait_for_prompt()
    chat.press(f"\x1b[200~'{folder}/my blocks.png'\x1b[201~")
    chat.wait(lambda: chat.current_line.endswith("my blocks.png'"), "pasted path")
    chat.press(ENTER)
    chat.see("staged image 1:")
    chat.enter(f"{(folder / 'my blocks.png').as_uri()}")
    chat.see("staged image 2:")
    assert "2 images (2 staged)" in chat.status
    chat.enter("/drop 2")
    chat.enter(WHERE)
    assert chat.answer_to(WHERE) == "The blue column."
    assert chat.leave() == 0


@pytest.mark.slow
def test_messages_of_several_lines(folder: Path) -> None:
    chat = Terminal(folder, "chat", "blocks.png")
    chat.wait_for_prompt()
    chat.press('"""' + ENTER)
    chat.wait(lambda: chat.current_line == ".", "continuation")
    chat.type(WHERE)
    chat.press(ENTER + '"""' + ENTER)
    chat.see("The blue column.")
    chat.wait_for_prompt()
    chat.type("How many")
    chat.press("\x1b" + ENTER)
    chat.wait(lambda: chat.current_line == ".", "continuation")
    chat.type("blocks are there?")
    chat.press(ENTER)
    chat.wait_for_prompt()
    chat.press("\x1b[200~How many\nblocks are there?\x1b[201~")
    chat.wait(lambda: chat.current_line == ". blocks are there?", "pasted lines")
    chat.press(ENTER)
    chat.wait_for_prompt()
    chat.enter("/save talk.json")
    said = [m["content"][-1]["text"] for m in json.loads((folder / "talk.json").read_text())["messages"][::2]]
    assert said == [WHERE, "How many\nblocks are there?", "How many\nblocks are there?"]
    assert chat.leave() == 0


@pytest.mark.slow
def test_history_is_private_and_can_be_turned_off(folder: Path) -> None:
    one = Terminal(folder, "chat", "blocks.png")
    one.enter(WHERE)
    assert one.leave() == 0
    if sys.platform == "linux":
        (file,) = (folder / "state").rglob("chat_history")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    two = Terminal(folder, "chat", "blocks.png")
    two.wait_for_prompt()
    two.press(UP)
    two.wait(lambda: two.current_line == f"> {WHERE}", "the last message")
    two.press(CTRL_C)
    assert two.leave() == 0
    three = Terminal(folder, "chat", GGUFVLM_NOHISTORY="1", XDG_STATE_HOME=str(folder / "other"))
    three.enter(COUNT)
    assert three.leave() == 0
    assert not (folder / "other").exists()


def test_tab_completes_commands_and_images(folder: Path) -> None:
    chat = Terminal(folder, "chat")
    chat.wait_for_prompt()
    chat.press("/ima" + TAB)
    chat.wait(lambda: "/images" in chat.flat, "commands")
    chat.press(CTRL_C)
    chat.wait_for_prompt()
    chat.press("/image blo" + TAB)
    chat.wait(lambda: chat.current_line == "> /image blocks.png", "image")
    chat.press(ENTER)
    chat.see("staged image 1: blocks.png")
    assert chat.leave() == 0


@pytest.mark.slow
def test_the_terminal_changes_its_size(folder: Path, stuck: list[str]) -> None:
    chat = Terminal(folder, "chat", *stuck, "-n", "-1", "--no-repetition-guard")
    chat.wait_for_prompt()
    chat.resize(50, 16)
    chat.enter("/context")
    chat.type("Hello")
    chat.press(ENTER)
    chat.see("!!!!!!!!")
    chat.resize(70, 20)
    chat.wait(lambda: chat.answer_to("Hello").count("!") > 100, "more of the answer")
    chat.press(CTRL_C)
    chat.wait_for_prompt()
    chat.enter("/images")
    chat.see("1 turn 1 140x140")
    chat.resize(30, 10)
    chat.enter("/undo")
    chat.see("0 turns left" if "0 turns left" in chat.flat else "no turns left")
    assert chat.leave() == 0


def test_a_terminal_that_can_do_nothing(folder: Path) -> None:
    chat = Terminal(folder, "chat", "blocks.png", TERM="dumb")
    chat.wait(lambda: chat.current_line == ">", "prompt")
    chat.press(WHERE + "\n")
    chat.see("The blue column.")
    chat.wait(lambda: chat.current_line == ">", "prompt")
    chat.press("/show\n")
    chat.see("needs a terminal that can draw")
    chat.wait(lambda: chat.current_line == ">", "prompt")
    chat.press(CTRL_D)
    assert chat.end() == 0
    assert b"\x1b" not in chat.written


def test_no_color_means_none(folder: Path) -> None:
    chat = Terminal(folder, "chat", "blocks.png", NO_COLOR="1")
    chat.enter(WHERE)
    chat.enter("/hlep")
    chat.enter("/stats")
    assert chat.answer_to(WHERE) == "The blue column."
    assert chat.leave() == 0
    assert not COLORS.search(chat.written.decode())


def test_stats_after_each_answer(folder: Path) -> None:
    chat = Terminal(folder, "chat", "blocks.png", "--stats", columns=120)
    chat.enter(WHERE)
    chat.enter(COUNT)
    found = re.findall(r"prompt +(\d+) tokens, (\d+) cached", chat.text)
    written = re.findall(r"answer +(\d+) tokens", chat.text)
    assert int(found[1][1]) == int(found[0][0]) + int(written[0])
    assert chat.leave() == 0


@pytest.mark.parametrize(
    ("graphics", "sign"),
    [("blocks", "▀"), ("kitty", "\x1b_Ga=T,f=100"), ("iterm2", "\x1b]1337;File=inline=1"), ("sixel", "\x1bP0;1q")],
)
def test_show_draws_the_image(folder: Path, graphics: str, sign: str) -> None:
    chat = Terminal(folder, "chat", "blocks.png", COLORTERM="truecolor", GGUFVLM_GRAPHICS=graphics)
    chat.wait_for_prompt()
    chat.type("/show")
    chat.press(ENTER)
    chat.wait(lambda: sign in chat.written.decode(errors="replace"), graphics)
    if graphics == "blocks":
        chat.wait_for_prompt()
        assert "38;2;31;90;200" in chat.written.decode(), "the blue of the column"
    chat.press(CTRL_D)
    assert chat.end() == 0


@pytest.mark.slow
def test_before_the_context_overflows_somebody_is_asked(folder: Path) -> None:
    SCENE.draw(196, 140).save(folder / "other.png")
    chat = Terminal(folder, "chat", "blocks.png", "-c", "230", "-n", "64", columns=120, rows=50)
    chat.enter(COUNT)
    chat.enter("/image other.png")
    while "which?" not in chat.text:
        chat.wait_for_prompt()
        chat.type(COUNT)
        chat.press(ENTER)
        chat.wait(lambda: chat.current_line == ">" or "which?" in chat.current_line, "answer or offer")
    chat.see("image 1 (blocks.png) takes 25, image 2 (other.png) takes 35")
    chat.see("[i]mage, blocks.png")
    chat.see(f'[t]urn, "{COUNT}"')
    chat.press("t" + ENTER)
    chat.wait_for_prompt()
    chat.see("dropped turn 1 and 1 image")
    chat.enter("/images")
    assert "2 turn" not in chat.flat.split("/images")[-1]
    assert chat.leave() == 0


def test_a_message_that_cannot_fit_stays_in_the_line(folder: Path) -> None:
    chat = Terminal(folder, "chat", "-c", "64", "-n", "8")
    chat.wait_for_prompt()
    words = "one two three four five six seven eight nine ten eleven twelve " * 3
    chat.type(words.strip())
    chat.press(ENTER)
    chat.see("there is nothing to drop")
    chat.wait(lambda: chat.status and chat.current_line.endswith("twelve"), "the message in the line again")
    chat.press(CTRL_C)
    chat.enter("/images")
    assert chat.leave() == 0


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_leaves_the_old_one(folder: Path) -> None:
    demo = Path(ggufvlm.__file__).parent / "demo"
    whole = (demo / "tiny-qwen2vl-Q8_0.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (folder / "mmproj-cut.gguf").write_bytes((demo / "mmproj-tiny-qwen2vl-F16.gguf").read_bytes())
    chat = Terminal(folder, "chat", "blocks.png", columns=120)
    chat.enter(WHERE)
    chat.enter("/model cut.gguf")
    chat.see("error: ")
    assert chat.status.startswith("demo")
    chat.enter(COUNT)
    assert chat.answer_to(COUNT) == "2."
    chat.enter("/model demo")
    chat.see("model: demo")
    chat.enter("/undo")
    chat.enter(CAPTION)
    assert chat.answer_to(CAPTION) == SCENE.caption
    assert chat.leave() == 0


def test_the_answers_can_go_into_a_file(folder: Path) -> None:
    command = ["bash", "-c", f"{sys.executable} -m ggufvlm chat blocks.png > answers.txt"]
    chat = Terminal(folder, program=command)
    chat.wait(lambda: chat.current_line == ">", "prompt")
    chat.press(WHERE + "\n")
    chat.wait(lambda: (folder / "answers.txt").read_text() == "The blue column.\n", "answer")
    chat.wait(lambda: chat.current_line == ">", "prompt")
    chat.press("/exit\n")
    assert chat.end() == 0
