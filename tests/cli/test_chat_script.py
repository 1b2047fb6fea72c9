"""``ggufvlm chat`` without a terminal: lines in, answers out."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SCENE, Run

WHERE, COUNT = "What is on the left?", "How many blocks are there?"


def script(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def test_answers_on_stdout_and_all_else_on_stderr(run: Run) -> None:
    done = run("chat", input=script("/image blocks.png", WHERE, "/images", COUNT, "/context"))
    assert done.returncode == 0
    assert done.stdout == b"The blue column.\n2.\n"
    words = done.stderr.decode()
    assert "staged image 1: blocks.png, 140x140" in words
    assert "1  turn 1  140x140  25 tokens  blocks.png" in words
    assert "of 4096 tokens" in words
    assert "\x1b" not in words


def test_images_as_arguments_in_lines_and_the_first_message(run: Run) -> None:
    assert run("chat", "blocks.png", WHERE, input=script(COUNT)).stdout == b"The blue column.\n2.\n"
    assert run("chat", input=script("blocks.png", WHERE)).stdout == b"The blue column.\n"
    assert run("chat", "-q", input=script(f"blocks.png {WHERE}")).stdout == b"The blue column.\n"
    quiet = run("chat", "-q", "blocks.png", input=script(WHERE))
    assert quiet.stderr == b""


def test_json_is_one_line_a_turn(run: Run) -> None:
    done = run(
        "chat", "blocks.png", "--json", input=script(WHERE, "", "/undo", COUNT, '"""', "Describe the", 'image."""')
    )
    turns = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(turn["turn"], turn["prompt"], turn["text"]) for turn in turns] == [
        (1, WHERE, "The blue column."),
        (1, COUNT, turns[1]["text"]),
        (2, "Describe the\nimage.", turns[2]["text"]),
    ]
    assert turns[0]["usage"]["n_images_encoded"] == 1


def test_twenty_turns_with_three_images_in_the_statistics(run: Run, folder: Path) -> None:
    for number in range(3):
        SCENE.draw(196, 140 + 28 * number).save(folder / f"{number}.png")
    lines = []
    for turn in range(20):
        lines += [f"/image {turn // 7}.png"] if turn % 7 == 0 else []
        lines.append((WHERE, COUNT)[turn % 2])
    done = run("chat", "--stats", "--json", input=script(*lines))
    usages = [json.loads(line)["usage"] for line in done.stdout.splitlines()]
    assert len(usages) == 20
    assert [usage["n_images_encoded"] for usage in usages] == [int(turn % 7 == 0) for turn in range(20)]
    for before, after in itertools.pairwise(usages):
        assert after["n_cached"] == before["n_prompt"] + before["n_generated"], "only new cells are computed"
    stats = done.stderr.decode()
    assert stats.count("; 1 encoded in") == 3
    assert stats.count(" cached") == 20


BAD = {
    "an unknown command": (["/hlep"], 2, "line 1: unknown command: /hlep", "did you mean /help?"),
    "an image that is not there": (["", "/image foo.png"], 3, "line 2: no such image: foo.png", ""),
    "an image in a line that is not there": (["what is foo.png"], 3, "line 1: no such image: foo.png", ""),
    "no image": (["/image cut.png"], 3, "cut.png", ""),
    "a word behind an image": (["/image blocks.png what"], 3, "no such image: what", ""),
    "stdin, which is the script": (["/image -"], 2, "where the messages come from", ""),
    "a setting": (["/set temp -1"], 2, "temperature must not be negative", ""),
    "no setting": (["/set heat 1"], 2, "unknown setting: heat", "temperature"),
    "not a number": (["/set temp warm"], 2, "temperature takes a number", ""),
    "a rectangle outside": (["/crop 0 0 200 200"], 2, "does not lie inside", ""),
    "no number of an image": (["/drop x"], 2, "number of an image", "/images"),
    "an image number that is not there": (["/drop 7"], 2, "there is no image 7", ""),
    "an unknown model": (["/model nonsense"], 4, "unknown model: nonsense", ""),
    "no dialogue": (["/load blocks.png"], 3, "not a saved dialogue", ""),
    "nothing to undo": (["/undo"], 2, "nothing has been asked yet", ""),
    "a file in the way": (["/save blocks.png"], 2, "is no saved dialogue", ""),
    "another file in the way": (["/export blocks.png"], 2, "is no exported dialogue", ""),
    "words that do nothing": (["/undo 3"], 2, "takes nothing", ""),
    "an open quotation": (['"""', "and so on"], 3, "ends within", ""),
    "too long a text": (["blah " * 5000], 1, "blocks.png (staged)) takes 25", "--ctx-size"),
    "a named pipe for an image": (["/image pipe"], 3, "pipe: a named pipe", "-"),
    "a named pipe for a dialogue": (["/load pipe"], 3, "pipe: not a regular file", ""),
    "an endless dialogue": (["/load /dev/zero"], 3, "/dev/zero: not a regular file", ""),
    "an endless image": (["/image /dev/zero"], 3, "/dev/zero: not a regular file", ""),
    "a line without end": (["x" * 3_000_000], 3, "line 1: longer than 2 MB", ""),
    "no terminal to draw on": (["/show"], 2, "needs a terminal", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_script_ends_at_its_first_error(run: Run, folder: Path, name: str) -> None:
    (folder / "cut.png").write_bytes((folder / "blocks.png").read_bytes()[:120])
    os.mkfifo(folder / "pipe")
    lines, code, words, hint = BAD[name]
    done = run(
        "chat", "-q", "blocks.png", input=script(*lines, COUNT) if name != "an open quotation" else script(*lines)
    )
    errors = done.stderr.decode()
    assert done.returncode == code, errors
    assert done.stdout == b"", "nothing behind the error is done"
    assert words in errors
    assert hint in errors
    assert "Traceback" not in errors


def test_bytes_that_are_no_text(run: Run) -> None:
    done = run("chat", input=b"\xff\xfe\n")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"not UTF-8" in done.stderr


def test_settings_system_and_the_rest(run: Run, folder: Path) -> None:
    lines = [
        "/set",
        "/set max-tokens 2",
        "Describe the image.",
        "/set max_tokens default",
        "/regen",
        "/system Be short.",
    ]
    done = run("chat", "blocks.png", "--temp", "0", input=script(*lines, "/system off", "/stats", "/clear", "/images"))
    words = done.stderr.decode()
    assert done.returncode == 0, words
    assert done.stdout.decode() == f"A blue\n{SCENE.caption}\n"
    for expected in (
        "temperature        0.0",
        "cut after 2 tokens",
        "Be short.",
        "system message: none",
        "no images yet",
    ):
        assert expected in words


def test_crop_and_zoom_make_new_images(run: Run) -> None:
    lines = [
        "/crop 35% 0 65% 100%",
        "/drop 1",
        "/image blocks.png",
        "/drop 2",
        "Describe the image.",
        "/zoom 2 0 0",
        "/images",
    ]
    done = run("chat", "blocks.png", input=script(*lines))
    assert done.stdout == b"A red square on a white background.\n", done.stderr
    assert b"blocks.png[49,0 91x140]" in done.stderr
    assert b"2  staged" in done.stderr


def test_save_and_load_in_a_new_process(run: Run, folder: Path) -> None:
    one = run("chat", "blocks.png", input=script(WHERE, "/save c.json", "Describe the image."))
    two = run("chat", input=script("/load c.json", "Describe the image."))
    assert two.returncode == 0, two.stderr
    assert one.stdout.splitlines()[1] == two.stdout.splitlines()[0]


def test_a_missing_image_is_told_and_replaced(run: Run, folder: Path) -> None:
    run("chat", "blocks.png", input=script(WHERE, "/save c.json"))
    (folder / "blocks.png").rename(folder / "there.png")
    stopped = run("chat", input=script("/load c.json", COUNT))
    assert stopped.returncode == 3
    assert b"image 1 is missing: no such image" in stopped.stderr
    assert b"/replace" in stopped.stderr
    good = run("chat", input=script("/load c.json", "/replace 1 there.png", COUNT))
    assert (good.returncode, good.stdout) == (0, b"2.\n")


def test_export_writes_markdown_and_copies(run: Run, folder: Path) -> None:
    done = run("chat", "blocks.png", input=script(WHERE, "/export out/c.md"))
    assert done.returncode == 2
    (folder / "out").mkdir()
    done = run("chat", "blocks.png", input=script(WHERE, "/export out/c.md", "/export out/c.md"))
    assert done.returncode == 0, done.stderr
    (copy,) = (folder / "out").glob("*.png")
    text = (folder / "out" / "c.md").read_text()
    assert f"![blocks.png](<{copy.name}>)\n\n> {WHERE}\n\nThe blue column.\n" in text


def test_a_full_context_names_what_fills_it_and_dropping_helps(run: Run, folder: Path) -> None:
    SCENE.draw(196, 140).save(folder / "other.png")
    lines = ["/image blocks.png", COUNT, "/image other.png", COUNT]
    stopped = run("chat", "-c", "120", input=script(*lines, *[COUNT] * 9))
    error = stopped.stderr.decode().splitlines()[-2:]
    assert stopped.returncode == 1
    assert "the context holds" in error[0]
    assert "image 1 (blocks.png) takes 25, image 2 (other.png) takes 35, the text" in error[0]
    assert "/drop N, /drop turn" in error[1]
    good = run("chat", "-c", "120", input=script(*lines, "/drop turn", "/drop turn", *[COUNT] * 2))
    assert good.returncode == 0, good.stderr
    assert b'dropped turn 1 and 1 image: "How many' in good.stderr
    assert b"tokens are left for the answer" in good.stderr


def test_another_model_goes_on_and_a_bad_one_does_not(run: Run, folder: Path, stuck: list[str]) -> None:
    lines = [WHERE, f"/model {folder / 'blocks.png'}", "/model demo", COUNT]
    done = run("chat", "blocks.png", input=script(WHERE, "/model demo", COUNT))
    assert done.stdout == b"The blue column.\n2.\n", done.stderr
    bad = run("chat", "blocks.png", input=script(*lines))
    assert (bad.returncode, bad.stdout) == (4, b"The blue column.\n")


def test_a_loop_gives_its_exit_code_at_the_end(run: Run, stuck: list[str]) -> None:
    done = run("chat", *stuck, "-n", "1500", input=script("Hello", "/images"))
    assert done.returncode == 6
    assert b"fell into a repetition loop" in done.stderr
    assert b"1  turn 1" in done.stderr, "the script goes on"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_a_script_and_keeps_what_was_said(folder: Path, stuck: list[str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "ggufvlm", "chat", *stuck, "-n", "-1", "--no-repetition-guard"],
        cwd=folder,
        env={**os.environ, "GGUFVLM_MODEL": "demo"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin
    assert child.stdout
    child.stdin.write(script("Hello", "Again"))
    child.stdin.flush()
    said = child.stdout.read(20)
    child.send_signal(signal.SIGINT)
    rest, words = child.communicate(timeout=60)
    assert child.returncode == 130
    assert set((said + rest).decode()) == {"!", "\n"}
    assert words.endswith(b"interrupted\n")


def test_stdin_is_no_image_here(run: Run) -> None:
    done = run("chat", "-", input=b"")
    assert done.returncode == 2
    assert b"messages come from stdin" in done.stderr


def test_wrong_settings_are_refused_before_a_model_is_looked_for(run: Run) -> None:
    done = run("chat", "blocks.png", "--temp", "-1", "-m", "none", input=b"What?\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: temperature must not be negative: -1.0\n"


def test_help_names_every_command(run: Run) -> None:
    done = run("chat", input=script("/help"))
    assert (done.returncode, done.stdout) == (0, b"")
    told = done.stderr.decode()
    assert all(f"/{name} " in told for name in ("image", "images", "clear", "save", "load", "model", "stats"))
    assert "A path or file:// URL of an image in a message is staged too." in told


def test_settings_show_what_a_person_sets(run: Run) -> None:
    done = run("chat", input=b"/set\n/set logprobs 2\n/set max_tokens -1\n")
    rows = dict(line.split(maxsplit=1) for line in done.stderr.decode().splitlines())
    assert done.returncode == 0
    assert rows["seed"] == "drawn for each answer"
    assert (rows["max_tokens"], rows["logprobs"]) == ("no limit  set here", "2  set here")
    assert "show_special" not in rows


@pytest.mark.parametrize("line", ["/crop 0 0 10 10", "/zoom", "/show"])
def test_commands_about_an_image_say_that_there_is_none(run: Run, line: str) -> None:
    done = run("chat", input=line.encode() + b"\n")
    assert done.returncode == 2
    assert done.stderr == b"error: line 1: there is no image yet\nhint: /image photo.jpg stages one\n"


def test_hints_name_what_a_chat_has(run: Run) -> None:
    done = run("chat", "none.png")
    assert done.stderr == (
        b"error: no such image: none.png\nhint: a message that looks like a file name is typed in the chat\n"
    )
