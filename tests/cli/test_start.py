"""The first moments of the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest


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
