"""What many tests need: the built-in model in memory, a clean environment, images with known answers."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufvlm import VLM
from tests.support.scenes import Scene, random_scene

pytest_plugins = ["tests.support.hub_server", "tests.support.require_all"]

# hundreds of tests start the program: without compiled modules each start takes half as long again
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; our children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's own settings, models or terminal."""
    for name in ("GGUFVLM_MODEL", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("COLUMNS", "LINES"):  # pytest-xdist sets them
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GGUFVLM_NO_REPAIR", raising=False)
    monkeypatch.delenv("GGUFVLM_PROJECTOR", raising=False)
    monkeypatch.setenv("GGUFVLM_NO_TRIAL", "1")  # a third of a second for each file; tests/llama/test_trial.py has it
    monkeypatch.setenv("GGUFVLM_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("GGUFVLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def demo() -> Iterator[VLM]:
    """The built-in model. It keeps cells from test to test, as it would in a user's process."""
    with VLM.load("demo") as vlm:
        yield vlm


@pytest.fixture
def fresh_demo() -> Iterator[VLM]:
    """The built-in model with nothing in its cache."""
    with VLM.load("demo") as vlm:
        yield vlm


@pytest.fixture(scope="session")
def scene() -> Scene:
    """A scene that the model describes exactly at the sizes tests draw it."""
    return random_scene(random.Random(7), 196, 140)


@pytest.fixture(scope="session")
def data() -> Path:
    """Images and reference answers."""
    return Path(__file__).parent / "data"
