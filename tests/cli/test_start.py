"""The first moments of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ggufvlm.cli.commands import COMMANDS
from ggufvlm.cli.main import app


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.07, 0.12])
def test_ctrl_c_at_the_start_shows_no_traceback(seconds: float) -> None:
    """At whatever point of its imports the program is by then; before it has begun Python speaks for itself."""
    code = "from ggufvlm.cli.entry import program\nprint('begun', flush=True)\nprogram()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGINT, 130, 0)
    assert "Traceback" not in said


def test_help_lists_every_command_and_imports_none() -> None:
    program = (
        "import sys\nsys.argv = ['ggufvlm', '--help']\nfrom ggufvlm.cli.main import main\n"
        "try: main()\nexcept SystemExit as done: assert done.code == 0\n"
        "print(*(name for name in sys.modules if name.startswith('ggufvlm.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *shown, imported = done.stdout.splitlines()
    listed = dict(line.split(maxsplit=1) for line in shown[shown.index("Commands:") + 1 :])
    assert listed == {name: line for name, (_, line) in COMMANDS.items()}
    assert all(len(line) < 80 for line in shown)
    assert set(imported.split()) == {
        f"ggufvlm.cli.{name}"
        for name in (
            *("commands", "main", "terminal", "terminal.image_warnings", "terminal.interruption", "terminal.streams"),
            *("usage", "usage.command", "usage.help_page"),
        )
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert f"Usage: ggufvlm {name} " in shown.stdout


INTERRUPTED_IMPORT = """
import os, pwd, signal, sys, weakref

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            thing = type("Thing", (), {{}})()
            weakref.finalize(thing, os.kill, os.getpid(), signal.SIGINT)
            del thing  # an exception in here would be told, with a traceback, and lost

sys.meta_path.insert(0, Finder())
from ggufvlm.cli.entry import program
program()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("serve", "fastapi"),
        ("serve", "uvicorn"),
        ("serve", "ggufvlm.server.engines.pool"),
        ("chat", "ggufvlm.chat.chat"),
        ("chat", "ggufvlm.vlm.vlm"),
    ],
)
def test_ctrl_c_within_an_import_is_one_line(tmp_path: Path, command: str, module: str) -> None:
    """Python does much of an import in callbacks, where a KeyboardInterrupt becomes a traceback and nothing else."""
    arguments = {
        "serve": ["serve", "-m", "demo", "--port", "0"],
        "chat": ["chat", "-m", "demo"],
    }
    code = INTERRUPTED_IMPORT.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments[command]],
        cwd=tmp_path,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (-signal.SIGINT, 130)
    assert done.stderr in ("", "interrupted\n")


HOMELESS = """
import os, pwd, tempfile
def nobody(_): raise KeyError("uid not found")
pwd.getpwuid = nobody
os.environ.pop("HOME", None)
for name in [name for name in os.environ if name.startswith(("XDG_", "HF_", "GGUFVLM_"))]:
    del os.environ[name]
from ggufvlm.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no passwd file")
@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--all"],
        ["cache"],
        ["doctor"],
        ["show", "demo"],
        ["describe", "blocks.png", "-m", "demo", "-n", "2"],
        ["batch", "blocks.png", "-m", "demo", "-n", "2", "-o", "out.jsonl"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_user_without_a_home_can_ask(folder: Path, arguments: list[str]) -> None:
    """As in a container that runs under a number that its passwd does not have."""
    (folder / "tmp").mkdir()
    done = _homeless(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "~").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no passwd file")
def test_a_folder_that_somebody_else_put_there_is_not_taken_for_ours(folder: Path) -> None:
    (folder / "tmp").mkdir()
    (folder / "theirs").mkdir()
    (folder / "tmp" / f"ggufvlm-{os.getuid()}").symlink_to(folder / "theirs")
    done = _homeless(folder, "list")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: no home, and {folder / 'tmp'}/ggufvlm-{os.getuid()} is not this user's",
        "hint: HOME=FOLDER names one",
    ]


def _homeless(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HOMELESS, *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
