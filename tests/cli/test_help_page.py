"""``-h`` of each command, and what a shell completes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ggufvlm.cli.commands import COMMANDS
from ggufvlm.cli.usage.help_page import PANELS
from tests.cli.conftest import RunHere, shown_lines
from tests.support.program import see_program

PAGES = [[name] for name in COMMANDS] + [["cache", "clear"]]
ASKING = ("describe", "chat", "batch", "detect", "classify", "ocr", "compare", "alt")


def panels(page: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in page:
        if re.fullmatch(r"[A-Z].*:", line):
            found[line[:-1]] = []
        elif line and found:
            found[list(found)[-1]].append(line)
    return found


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_help_fits_80_columns_and_gives_two_examples(run_here: RunHere, command: list[str]) -> None:
    code, out, _ = run_here(*command, "-h")
    page = out.splitlines()
    assert code == 0
    assert max(map(len, page)) <= 80
    assert not re.search(r"<\w+(\[|>)|\{[A-Z]|\}\.\.\.|INTEGER|x>=", "\n".join(page)), "names of types"
    examples = panels(page)["Examples"]
    assert len(examples) >= 2
    assert all(line.startswith(f"  ggufvlm {' '.join(command)}") for line in examples) or command == ["version"]


def test_help_on_a_terminal_of_80_columns(folder: Path, run_here: RunHere) -> None:
    shown, code = see_program("batch", "-h", folder=folder)
    assert code == 0
    assert "\n".join(shown_lines(shown, 80, rows=300)).rstrip() == run_here("batch", "-h")[1].rstrip()


@pytest.mark.parametrize("command", ASKING)
def test_options_stand_in_panels(run_here: RunHere, command: str) -> None:
    found = panels(run_here(command, "-h")[1].splitlines())
    titles = [title for title in found if title not in ("Usage", "Examples", "Arguments")]
    assert {"Question", "Model", "Hardware", "Output"} <= set(titles) or command in ("chat", "ocr")
    assert titles == sorted(titles, key=PANELS.index)
    assert any("--model" in line for line in found["Model"])
    assert any("--help" in line for line in found["Output"])
    assert len(found.get("Options", [])) <= 12, "what has no heading of its own is little"


def test_the_model_option_tells_where_its_default_comes_from(
    run_here: RunHere, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        return " ".join(run_here("describe", "-h")[1].split())

    monkeypatch.setenv("GGUFVLM_MODEL", "demo")

    assert "[env: GGUFVLM_MODEL] [default: demo]" in told()
    monkeypatch.delenv("GGUFVLM_MODEL")
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(folder))
    assert "[default: qwen2-vl-2b]" in told()
    (folder / "config.toml").write_text("model = broken")
    assert "[default: see `ggufvlm use`]" in told()


SHELLS = {
    "bash": lambda words: {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": words},
    "fish": lambda words: {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    "powershell": lambda words: {
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.rpartition(" ")[2],
    },
}
"""What the function that each shell has loaded puts into the environment."""


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_names(run_here: RunHere, folder: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    def offered(words: str) -> set[str]:
        with monkeypatch.context() as environment:
            for name, value in {"_GGUFVLM_COMPLETE": f"complete_{shell}", **SHELLS[shell](words)}.items():
                environment.setenv(name, value)
            _, out, err = run_here()
        assert err == ""
        return set(re.findall(r"[\w./-]+", out))

    (folder / "mmproj-mine.gguf").touch()
    (folder / "mine.gguf").touch()
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(folder))
    (folder / "config.toml").write_text('[presets.receipt]\nprompt = "Read it."\n')
    assert "describe" in offered("ggufvlm des")
    assert {"qwen2-vl-2b", "qwen2-vl-7b"} <= offered("ggufvlm describe -m qwen2")
    assert "mine.gguf" in offered("ggufvlm pull mi")
    assert "receipt" in offered("ggufvlm batch photos --preset re")
    found = offered("ggufvlm describe --mmproj m")
    assert "mmproj-mine.gguf" in found
    assert "mine.gguf" not in found
