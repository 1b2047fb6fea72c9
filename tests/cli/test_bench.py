from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ggufvlm.media import load
from tests.cli.conftest import Run
from tests.support.bench_programs import write_programs
from tests.test_exports import loaded_by

SHORT = ("-n", "4", "--repeat", "1", "-t", "1")


def test_a_table_for_people(run: Run) -> None:
    done = run("bench", "--only", "encode,decode", *SHORT)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("machine  ")
    assert lines[2] == "model    demo: tiny-qwen2vl-Q8_0.gguf 2.1 MB, mmproj-tiny-qwen2vl-F16.gguf 2.7 MB"
    assert lines[3] == "image    168x168, 144 patches, 36 tokens"
    table = [line for line in lines[5:] if line]
    assert table[0].split() == ["MEDIAN", "MIN", "MAX"]
    assert [line.split("  ")[0] for line in table[1:4]] == [
        "encode an image",
        "encode 1,000 patches",
        "decode, 1 at a time",
    ]
    assert table[3].endswith("tokens/s")
    assert "█" not in done.stdout.decode()


def test_json_and_a_plot(run: Run, folder: Path) -> None:
    done = run("bench", "-m", "demo", "--image", "blocks.png", "--only", "prefill", "--json", "--plot", "a.png", *SHORT)
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    assert report["settings"]["only"] == ["prefill"]
    assert report["settings"]["n_threads"] == 1
    assert {"cpu", "cores", "memory", "llama_cpp_python", "ggml"} <= set(report["machine"])
    assert report["model"]["picture"]["n_tokens"] == 25
    (result,) = report["results"]
    assert (result["name"], result["unit"], result["n"]) == ("prefill", "tokens/s", 1)
    assert result["min"] == result["median"] == result["max"] > 0
    assert load(folder / "a.png").height > 100


def test_bars_in_a_pipe_when_asked_for(run: Run) -> None:
    done = run("bench", "--only", "encode", "--plot", "-", *SHORT)
    bars = [line for line in done.stdout.decode().splitlines() if "█" in line]
    assert [bar.split("█")[0].rstrip() for bar in bars] == ["encode an image", "encode 1,000 patches"]
    assert all(bar.endswith(" ms") for bar in bars)
    assert "\x1b" not in done.stdout.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
def test_against_a_folder_with_one_program(run: Run, folder: Path) -> None:
    write_programs(folder / "bin", "llama-bench")
    done = run("bench", "--only", "prefill", "--against", "bin", *SHORT)
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert any(line.startswith("decode") and "llama-bench" in line for line in lines)
    assert "left out: cold: no llama-mtmd-cli in bin" in lines
    report = json.loads(run("bench", "--only", "prefill", "--against", "bin", "--json", *SHORT).stdout)
    assert [ratio["name"] for ratio in report["ratios"]] == ["prefill", "decode"]
    assert set(report["ratios"][0]) == {"name", "against", "ours", "theirs", "unit", "ratio", "min", "max", "n"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--only", "speed"), 2, b"error: nothing to measure is called 'speed'\nhint: there are encode, "),
        (
            ("--image", "blocks.png", "--plot", "blocks.png"),
            2,
            b"error: blocks.png: would write over blocks.png itself\n",
        ),
        (("--plot", "a.txt"), 2, b"error: a.txt: a plot ends with .png or .svg\n"),
        (("--against", "nowhere"), 2, b"error: nowhere: no such folder\n"),
        (("demo", "-m", "demo"), 2, b"error: two models: 'demo' and -m 'demo'\n"),
        (("--image", "no.png"), 3, b"error: "),
        (("no.gguf",), 4, b"error: no.gguf: no such file\n"),
    ],
)
def test_refusals(run: Run, arguments: tuple[str, ...], code: int, message: bytes) -> None:
    done = run("bench", *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stdout == b""


def test_a_plot_needs_an_extra(folder: Path) -> None:
    program = (
        "import sys\nsys.modules['matplotlib'] = None\n"
        "sys.argv = ['ggufvlm', 'bench', 'demo', '--plot', 'a.png']\n"
        "from ggufvlm.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=folder, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == b"error: --plot FILE needs an optional package\nhint: pip install 'ggufvlm[plot]'\n"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "from ggufvlm.cli.main import main\nsys.argv = ['ggufvlm', 'bench', '--help']\n"
        "try: main()\nexcept SystemExit as done: assert done.code == 0"
    )
    assert loaded_by(program) == set()
