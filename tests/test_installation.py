"""Hints print the command of the tool that has installed the program."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

from ggufvlm import version
from ggufvlm.errors import MissingExtra
from ggufvlm.tools.build import plan_build

ORIGIN = {"url": "file:///src/ggufvlm", "dir_info": {}}


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a program that nobody has installed yet, with two of its three optional packages missing."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(
        version, "extras", lambda: {"pdf": ["no-such-pdf>=5.8"], "plot": ["pytest"], "video": ["no-such-video"]}
    )
    monkeypatch.setattr(version, "_origin", lambda: " @ file:///src/ggufvlm")
    return tmp_path


def hints() -> tuple[str | None, str, str]:
    return MissingExtra("reading a.pdf", "pdf").hint, version.package_command("socksio"), version.upgrade_command()


def test_pip(prefix: Path) -> None:
    assert hints() == ("pip install 'ggufvlm[pdf]'", "pip install socksio", "pip install -U ggufvlm")


def test_uv_without_pip(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    start = "uv pip install --python '/my env/bin/python'"
    assert hints() == (f"{start} 'ggufvlm[pdf]'", f"{start} socksio", f"{start} -U ggufvlm")


def test_uv_tool_keeps_the_features_that_are_there(prefix: Path) -> None:
    (prefix / "uv-receipt.toml").touch()
    assert hints() == (
        "uv tool install 'ggufvlm[pdf,plot] @ file:///src/ggufvlm'",
        "uv tool install ggufvlm --with socksio",
        "uv tool upgrade ggufvlm",
    )


def test_pipx(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prefix / "pipx_metadata.json").touch()
    assert hints() == ("pipx inject ggufvlm 'no-such-pdf>=5.8'", "pipx inject ggufvlm socksio", "pipx upgrade ggufvlm")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/bin/{name}")
    assert plan_build("cpu").command[:4] == ("/bin/pipx", "runpip", "ggufvlm", "install")


def test_a_build_without_any_installer_says_how_to_get_one(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ggufvlm.tools import build

    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    missing = {check.tool: check.remedy for check in plan_build("cpu").missing}
    assert missing["pip"] == f"{sys.executable} -m ensurepip"


def test_the_features_of_this_package_are_read_from_its_metadata() -> None:
    assert {"pdf", "video", "serve", "parquet"} <= set(version.extras())
    assert any(requirement.startswith("pypdfium2") for requirement in version.extras()["pdf"])


def test_a_folder_it_was_installed_from_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            return json.dumps(ORIGIN) if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution())
    assert version._origin() == " @ file:///src/ggufvlm"
