"""``ggufvlm describe`` in a pipe: bytes on stdout, words on stderr, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ggufvlm
from tests.cli.conftest import SCENE, Run

CAPTION = SCENE.caption + "\n"


def test_the_answer_and_nothing_else(run: Run) -> None:
    done = run("describe", "blocks.png")
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, CAPTION, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["blocks.png", "What is on the left?"],
        ["blocks.png", "-p", "What is on the left?"],
        ["-p", "@question.txt", "blocks.png"],
        ["blocks.png", "@question.txt"],
        ["--prompt=What is on the left?", "--", "blocks.png"],
    ],
)
def test_ways_to_ask(run: Run, folder: Path, arguments: list[str]) -> None:
    (folder / "question.txt").write_text("What is on the left?\n")
    done = run("describe", *arguments)
    assert (done.returncode, done.stdout) == (0, b"The blue column.\n"), done.stderr


@pytest.mark.parametrize("nothing", ["", "  ", "@empty.txt"])
def test_an_empty_question_asks_for_a_description(run: Run, folder: Path, nothing: str) -> None:
    (folder / "empty.txt").touch()
    assert run("describe", "blocks.png", nothing).stdout.decode() == CAPTION


def test_image_from_stdin_and_from_a_data_uri(run: Run, folder: Path) -> None:
    import base64

    data = (folder / "blocks.png").read_bytes()
    assert run("describe", "-", input=data).stdout.decode() == CAPTION
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    assert run("describe", uri, "What is on the left?").stdout == b"The blue column.\n"


def test_two_images_and_a_pattern(run: Run, folder: Path) -> None:
    (folder / "shots").mkdir()
    for name in ("1.png", "2.png"):
        (folder / "shots" / name).write_bytes((folder / "blocks.png").read_bytes())
    both = f"Image 1: {SCENE.caption} Image 2: {SCENE.caption}\n"
    assert run("describe", "shots/1.png", "shots/2.png", "Describe each image.").stdout.decode() == both
    assert run("describe", "shots/*.png", "Describe each image.").stdout.decode() == both


BAD = {
    "an image that is not there": (["foo.jpg", "What?"], 3, "no such image: foo.jpg"),
    "a text file": (["notes.txt", "What?"], 3, "notes.txt"),
    "an empty file": (["empty.png"], 3, "empty.png"),
    "a cut image": (["cut.png"], 3, "cut.png"),
    "no image": (["What is this?"], 2, "no image given"),
    "two prompts": (["blocks.png", "One?", "-p", "Two?"], 2, "two prompts"),
    "words without quotes": (["blocks.png", "what", "is", "this"], 2, "quote"),
    "a prompt file that is not there": (["blocks.png", "-p", "@none.txt"], 3, "none.txt"),
    "stdin twice": (["-", "-"], 2, "-"),
    "an unknown model": (["blocks.png", "-m", "qwen2-vl-2bb"], 4, "qwen2-vl-2bb"),
    "a model file that is not there": (["blocks.png", "-m", "none.gguf"], 4, "none.gguf"),
    "a model that is no GGUF": (["blocks.png", "-m", "fake.gguf"], 4, "fake.gguf"),
    "a temperature below zero": (["blocks.png", "--temp", "-1"], 2, "temperature"),
    "a context too small": (["blocks.png", "-c", "32"], 1, "the context holds 32"),
    "an option that does not exist": (["blocks.png", "--nonsense"], 2, "--nonsense"),
    "layers that are no number": (["blocks.png", "-ngl", "some"], 2, "-ngl"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line_and_a_code(run: Run, folder: Path, name: str) -> None:
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((folder / "blocks.png").read_bytes()[:120])
    (folder / "fake.gguf").write_bytes(b"PK\3\4 this is not a model")
    arguments, code, words = BAD[name]
    done = run("describe", *arguments)
    errors = done.stderr.decode().splitlines()
    assert done.returncode == code, errors
    assert done.stdout == b""
    assert words in " ".join(errors)
    assert "Traceback" not in " ".join(errors)
    if errors[0].startswith("error:"):
        assert len(errors) <= 2
        assert all(line.startswith("hint:") for line in errors[1:])


def test_debug_shows_the_traceback_and_llama_cpp_s_messages(run: Run) -> None:
    assert b"Traceback" in run("describe", "foo.jpg", "--debug").stderr
    good = run("describe", "blocks.png", "--debug")
    assert good.stdout.decode() == CAPTION
    assert b"general.architecture" in good.stderr


def test_json_is_one_envelope(run: Run) -> None:
    done = run("describe", "blocks.png", "--json")
    assert done.stdout.count(b"\n") == 1
    envelope = json.loads(done.stdout)
    assert envelope["text"] == SCENE.caption
    assert envelope["finish_reason"] == "stop"
    assert envelope["model"] == "demo"
    (image,) = envelope["images"]
    assert (image["source"], image["width"], image["height"], image["n_tokens"]) == ("blocks.png", 140, 140, 25)
    assert envelope["usage"]["n_images_encoded"] == 1
    assert envelope["times"]["first_token"] > 0


def test_stats_say_what_the_model_saw(run: Run, folder: Path) -> None:
    SCENE.draw(900, 900).save(folder / "large.png")
    done = run("describe", "large.png", "--stats")
    stats = done.stderr.decode()
    assert done.stdout.decode() == CAPTION
    assert "900x900 -> 168x168, 36 tokens" in stats
    assert "0 cached" in stats
    assert "\x1b" not in stats


def test_a_cut_answer_warns_unless_quiet(run: Run) -> None:
    loud, quiet = run("describe", "blocks.png", "-n", "3"), run("describe", "blocks.png", "-n", "3", "-q")
    assert loud.returncode == quiet.returncode == 0
    assert b"cut after 3 tokens" in loud.stderr
    assert quiet.stderr == b""
    assert loud.stdout == quiet.stdout != CAPTION.encode()


def test_a_loop_is_cut_with_its_own_exit_code(run: Run, stuck: list[str]) -> None:
    done = run("describe", *stuck, "-n", "1500")
    assert done.returncode == 6, done.stdout[-300:]
    assert b"fell into a repetition loop" in done.stderr
    assert 50 < len(done.stdout) < 300
    assert run("describe", *stuck, "-q").stderr == b""
    assert json.loads(run("describe", *stuck, "--json").stdout)["finish_reason"] == "repetition"
    free = run("describe", *stuck, "-n", "300", "--no-repetition-guard")
    assert free.returncode == 0
    assert len(free.stdout) > 300


def test_prefill_and_stop(run: Run) -> None:
    done = run("describe", "blocks.png", "--prefill", "A blue column", "--stop", " on a")
    assert done.stdout.decode() == SCENE.caption.split(" on a")[0] + "\n"


def test_no_stream_gives_the_same_bytes(run: Run) -> None:
    assert run("describe", "blocks.png", "--no-stream").stdout.decode() == CAPTION


def test_a_local_pair(run: Run, folder: Path) -> None:
    demo = Path(ggufvlm.__file__).parent / "demo"
    for name in ("tiny-qwen2vl-Q8_0.gguf", "mmproj-tiny-qwen2vl-F16.gguf"):
        (folder / name).symlink_to(demo / name)
    both = ["-m", "tiny-qwen2vl-Q8_0.gguf", "--mmproj", "mmproj-tiny-qwen2vl-F16.gguf"]
    assert run("describe", "blocks.png", *both).stdout.decode() == CAPTION
    assert run("describe", "blocks.png", *both[:2]).stdout.decode() == CAPTION, "the projector lies beside it"
    swapped = run("describe", "blocks.png", "-m", both[3], "--mmproj", both[1])
    assert swapped.returncode == 4
    assert b"wrong way round" in swapped.stderr


def test_a_reader_that_leaves_early_is_no_error(run: Run, folder: Path) -> None:
    command = f"{sys.executable} -m ggufvlm describe blocks.png 'Detect all objects.' -m demo | head -c 5"
    done = subprocess.run(command, shell=True, capture_output=True, cwd=folder, timeout=60, check=False)
    assert len(done.stdout) == 5
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_ctrl_c_keeps_what_was_said(folder: Path, stuck: list[str]) -> None:
    command = [sys.executable, "-m", "ggufvlm", "describe", *stuck, "-n", "-1", "--no-repetition-guard"]
    command += ["--prefill", "word", "--stop", "never said"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        first = child.stdout.read(4)
        child.send_signal(signal.SIGINT)
        rest, errors = child.stdout.read(), child.stderr.read()
    assert first == b"word"
    assert child.returncode == 130, errors
    assert errors == b"interrupted\n"
    assert rest.endswith(b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_ctrl_c_leaves_json_that_is_complete(folder: Path, stuck: list[str]) -> None:
    program = (
        "import os, signal, threading; from ggufvlm.vlm.vlm import VLM; from ggufvlm.cli.main import program\n"
        "submit = VLM.submit\n"
        "def submit_and_interrupt(*given):\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    return submit(*given)\n"
        "VLM.submit = submit_and_interrupt; program()"
    )
    command = [sys.executable, "-c", program, "describe", *stuck, "-n", "-1", "--no-repetition-guard"]
    command += ["--json", "--logprobs", "0", "--stop", "never said"]
    done = subprocess.run(command, capture_output=True, cwd=folder, timeout=60, check=False)
    assert done.returncode == 130, done.stderr
    answer = json.loads(done.stdout)
    assert answer["finish_reason"] == "abort"
    assert "".join(token["token"] for token in answer["logprobs"]).startswith(answer["text"].rstrip("\ufffd"))
    assert len(answer["logprobs"]) == answer["usage"]["n_generated"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_ctrl_c_at_any_moment_is_130_or_too_late(folder: Path) -> None:
    """Also while the model loads and while all is being closed; before that the interpreter itself goes (-SIGINT)."""
    command = [sys.executable, "-m", "ggufvlm", "describe", "blocks.png", "-m", "demo"]
    for moment in range(12):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as child:
            time.sleep(0.12 + 0.05 * moment)
            child.send_signal(signal.SIGINT)
            said, errors = child.communicate()
        assert child.returncode in (0, 130, -signal.SIGINT), errors
        assert child.returncode != 0 or said.decode() == CAPTION


def test_answers_stream_into_a_pipe_piece_by_piece(folder: Path) -> None:
    command = [sys.executable, "-m", "ggufvlm", "describe", "blocks.png", "Detect all objects.", "-m", "demo"]
    pieces = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) as child:
        assert child.stdout is not None
        while piece := os.read(child.stdout.fileno(), 65536):
            pieces.append(piece)
            time.sleep(0.001)
    assert len(pieces) > 1
    assert json.loads(b"".join(pieces))[0]["label"] == "blue column"


def test_an_image_too_narrow_for_the_model_is_named(run: Run, folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (5000, 10)).save(folder / "thin.png")
    done = run("describe", "thin.png")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode().startswith("error: thin.png: an image of 5000x10 is too narrow")
