"""Slips of the hand: one line that names the thing, one that names the way out, and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ggufvlm
from tests.cli.conftest import Run, RunHere, shown_lines
from tests.support.program import see_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")

USAGE = 2
SLIPS = {
    "descibe blocks.png": ["error: unknown command: descibe", "hint: did you mean ggufvlm describe?"],
    "run demo": ["error: unknown command: run", "hint: did you mean ggufvlm chat?"],
    "ask blocks.png": ["error: unknown command: ask", "hint: did you mean ggufvlm describe?"],
    "ls": ["error: unknown command: ls", "hint: did you mean ggufvlm list?"],
    "models": ["error: unknown command: models", "hint: did you mean ggufvlm list?"],
    "frobnicate": ["error: no such command: frobnicate", "hint: ggufvlm -h lists the commands"],
    "nosuch.png What?": [
        "error: no such command and no such file: nosuch.png",
        "hint: ggufvlm -h lists the commands",
    ],
    "completion bash": ["error: unknown command: completion", "hint: did you mean ggufvlm --install-completion?"],
    "cache clean": ["error: unknown command: clean", "hint: did you mean ggufvlm cache clear?"],
    "-m demo blocks.png": [
        "error: unknown option: -m",
        "hint: options stand behind a command: ggufvlm describe -h",
    ],
    "--verison": ["error: unknown option: --verison", "hint: did you mean --version?"],
    "describe blocks.png --modle demo": ["error: unknown option: --modle", "hint: did you mean --model?"],
    "describe blocks.png --max_tokens 5": ["error: unknown option: --max_tokens", "hint: did you mean --max-tokens?"],
    "describe blocks.png --n-predict 5": ["error: unknown option: --n-predict", "hint: did you mean --max-tokens?"],
    "describe --image blocks.png": [
        "error: unknown option: --image",
        'hint: no option for images: ggufvlm describe photo.jpg "What is on the table?"',
    ],
    "describe blocks.png -Z": ["error: unknown option: -Z", "hint: ggufvlm describe -h shows what there is"],
    "list --al": ["error: unknown option: --al", "hint: did you mean --all?"],
    "describe": [
        "error: describe: IMAGE is missing",
        'hint: ggufvlm describe photo.jpg "What is on the table?"',
    ],
    "classify blocks.png": [
        "error: classify: --labels is missing",
        "hint: ggufvlm classify photo.jpg --labels cat,dog,bird",
    ],
    "pull": ["error: pull: MODEL is missing", "hint: ggufvlm pull qwen2-vl-2b"],
    "quantize in.gguf": [
        "error: quantize: OUT is missing",
        "hint: ggufvlm quantize model-F16.gguf model-Q4_K_M.gguf Q4_K_M",
    ],
    "describe blocks.png -m": [
        "error: -m needs a value: -m MODEL",
        "hint: ggufvlm describe -h shows what there is",
    ],
    "describe blocks.png --json=1": [
        "error: --json takes no value",
        "hint: ggufvlm describe -h shows what there is",
    ],
    "describe blocks.png --temp hot": ["error: --temp takes a number, not hot"],
    "describe blocks.png -n abc": ["error: -n takes a whole number, not abc"],
    "describe blocks.png --max-tokens=1.5": ["error: --max-tokens takes a whole number, not 1.5"],
    "describe blocks.png --frames 0": ["error: --frames takes a number from 1 on, not 0"],
    "describe blocks.png --color aut": [
        "error: --color takes auto, on or off, not aut",
        "hint: did you mean auto?",
    ],
    "demo --picture 9": ["error: --picture takes a number from 1 to 3, not 9"],
    "serve --port 99999": ["error: --port takes a number from 0 to 65535, not 99999"],
    "serve demo": [
        "error: serve takes no argument, and not: demo",
        "hint: ggufvlm serve -m demo, if it is a model",
    ],
    "verify demo again": [
        "error: verify takes MODEL, and not: again",
        "hint: ggufvlm verify -h shows what there is",
    ],
}

"""A line that was typed, and what stands on the terminal."""

WRONG_THINGS = {
    "describe blocks.png -m deno": (4, ["error: unknown model: deno", "hint: did you mean demo?"]),
    "describe blocks.png -m mine/tini.gguf": (
        4,
        ["error: mine/tini.gguf: no such file", "hint: did you mean mine/tiny.gguf?"],
    ),
    "describe blocks.png -m demo --mmproj nosuch.gguf": (
        4,
        ["error: nosuch.gguf: no such file", "hint: `ggufvlm list --all` shows models by name"],
    ),
    "describe blocks.png -m demo --preset captoin": (
        2,
        [
            "error: no preset 'captoin'",
            "hint: did you mean caption? there are: alt, caption, detailed, ocr, tags",
        ],
    ),
    "describe -m demo notes.txt What?": (
        3,
        [
            "error: notes.txt: not an image in a format that can be read",
            "hint: a prompt in a file goes through -p @notes.txt",
        ],
    ),
    "describe -m demo block.png What?": (
        3,
        [
            "error: no such image: block.png",
            "hint: did you mean blocks.png? (a prompt that looks like a file name goes through -p)",
        ],
    ),
    "describe -m demo blocks.png What is it": (
        2,
        ['error: more than one prompt: "What" and "is"', 'hint: quote it: "What is it"'],
    ),
    "pull nosuch": (4, ["error: unknown model: nosuch", "hint: `ggufvlm list --all` shows the models there are"]),
    "batch . -m demo -p x": (
        2,
        ["error: no output named", "hint: -o captions.jsonl; or .csv, .tsv, .parquet; - for stdout"],
    ),
}
"""A line that was typed, its exit code, and what stands on stderr."""


@pytest.mark.parametrize("line", WRONG_THINGS)
def test_a_thing_that_is_not_there_or_not_right_is_named_with_the_way_out(
    run_here: RunHere, folder: Path, line: str
) -> None:
    (folder / "notes.txt").write_text("What is this?")
    (folder / "mine").mkdir()
    (folder / "mine" / "tiny.gguf").touch()
    code, out, err = run_here(*line.split())
    assert (code, err.splitlines(), out) == (*WRONG_THINGS[line], "")


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_told_in_one_line_or_two(run_here: RunHere, line: str) -> None:
    code, out, err = run_here(*line.split())
    assert err.splitlines() == SLIPS[line]
    assert max(map(len, SLIPS[line])) <= 80, "a terminal would break it"
    assert (code, out) == (USAGE, "")


@pytest.mark.parametrize("line", ["descibe blocks.png", "describe blocks.png --modle demo"])
def test_a_slip_on_a_terminal(folder: Path, line: str) -> None:
    shown, code = see_program(*line.split(), folder=folder)
    assert [text for text in shown_lines(shown, 80) if text] == SLIPS[line]
    assert code == USAGE


def test_a_value_of_the_environment_is_told_by_the_name_of_its_variable(
    run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GGUFVLM_ASSUME_YES", "perhaps")
    code, _, err = run_here("describe", "blocks.png")
    assert code == USAGE
    assert err.startswith("error: GGUFVLM_ASSUME_YES perhaps: ")


def test_an_image_in_place_of_a_command_is_described(run: Run) -> None:
    asked = run("blocks.png", "What color is the square?")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == run("describe", "blocks.png", "What color is the square?").stdout
    assert run("blocks.png", "-n", "1", "--json").stdout.startswith(b"{")


def test_a_url_in_place_of_a_command_is_described(run_here: RunHere) -> None:
    code, _, err = run_here("http://127.0.0.1:9/cat.png", "-m", "demo")
    assert code == 3
    assert err.startswith("error: http://127.0.0.1:9/cat.png: ")


def test_a_file_called_like_a_command_is_no_image(run: Run, folder: Path) -> None:
    (folder / "version").write_bytes((folder / "blocks.png").read_bytes())
    assert run("version").stdout.startswith(b"ggufvlm ")
    assert run("./version", "-n", "2").returncode == 0


def test_a_folder_in_place_of_a_command_leads_to_batch(run_here: RunHere, folder: Path) -> None:
    (folder / "photos").mkdir()
    code, _, err = run_here("photos", "What?")
    assert code == USAGE
    assert err.splitlines() == [
        "error: unknown command: photos, which is a folder",
        'hint: ggufvlm batch photos -p "..." -o answers.jsonl asks about each image in it',
    ]


def test_the_version_has_three_spellings(run_here: RunHere) -> None:
    shown = {run_here(word) for word in ("version", "-V", "--version")}
    assert shown == {(0, f"ggufvlm {ggufvlm.__version__}\n", "")}
