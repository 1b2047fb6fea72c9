"""A test that cannot run has to be told in CI, or it is never missed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_skips():
    pytest.skip("no moon tonight")

def test_cannot_run():
    pytest.skip("this machine has no IPv6")
"""


@pytest.mark.parametrize(
    ("required", "module", "told"),
    [
        ("0", TESTS, "2 skipped"),
        ("1", TESTS, "1 failed, 1 skipped"),
        ("1", "import pytest; pytest.importorskip('no_such_module')", "1 error"),
    ],
)
def test_a_skip_is_a_failure_where_all_is_required(tmp_path: Path, required: str, module: str, told: str) -> None:
    (tmp_path / "test_it.py").write_text(module)
    options = ["-n", "0", "-p", "tests.support.require_all", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = {**os.environ, "GGUFVLM_REQUIRE_ALL": required}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert told in done.stdout.splitlines()[-1], done.stdout
    assert ("no moon tonight" in done.stdout) == (module == TESTS)
