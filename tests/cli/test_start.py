"""The first moments of the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from ggufvlm.cli.commands import COMMANDS
from ggufvlm.cli.main import app


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("seconds", [0.03, 0.05, 0.07, 0.1, 0.15])
def test_ctrl_c_at_the_start_shows_no_traceback(seconds: float) -> None:
    """At whatever point of its imports the program is by then; before it has begun Python speaks for itself."""
    code = "print('begun', flush=True)\nfrom ggufvlm.cli.entry import program\nprogram()"
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
        f"ggufvlm.cli.{name}" for name in ("commands", "main", "terminal", "terminal.interruption", "terminal.streams")
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert f"Usage: ggufvlm {name} " in shown.stdout
