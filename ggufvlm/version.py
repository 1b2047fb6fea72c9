"""This installation: its version, which package and files take from here, and the tool that made it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Literal, TypeAlias

__version__ = "0.1.0"

NAME = "ggufvlm"

Installer: TypeAlias = Literal["pip", "uv pip", "uv tool", "pipx"]

_OF_EXTRA = re.compile(r"([^;]+);.*extra\s*==\s*['\"]([\w.-]+)['\"]")


def installer() -> Installer:
    """The tool that has installed this package, by what it leaves in an environment."""
    from importlib.util import find_spec
    from shutil import which

    if Path(sys.prefix, "uv-receipt.toml").is_file():
        return "uv tool"
    if Path(sys.prefix, "pipx_metadata.json").is_file():
        return "pipx"
    return "uv pip" if find_spec("pip") is None and which("uv") else "pip"


def extras() -> dict[str, list[str]]:
    """The optional features of this package, and the requirements of each; none if it is not installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        requirements = requires(NAME) or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        match = _OF_EXTRA.match(requirement)
        if match:
            found.setdefault(match[2], []).append(match[1].strip())
    return found


def missing_packages(requirements: list[str]) -> list[str]:
    """The names of those that are not installed."""
    from importlib.metadata import PackageNotFoundError, version

    names, missing = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements], []
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def extra_command(extra: str) -> str:
    """The command that installs an optional feature."""
    tool = installer()
    if tool == "pipx":
        return shlex.join(["pipx", "inject", NAME, *extras().get(extra, [f"{NAME}[{extra}]"])])
    if tool == "uv tool":  # it installs anew: what is there has to be named again
        here = {name for name, wanted in extras().items() if name != "test" and not missing_packages(wanted)}
        return f"uv tool install '{NAME}[{','.join(sorted({*here, extra}))}]{_origin()}'"
    return f"{_pip(tool)} '{NAME}[{extra}]'"


def package_command(package: str) -> str:
    """The command that installs another package beside this one."""
    tool = installer()
    if tool == "pipx":
        return f"pipx inject {NAME} {package}"
    return f"uv tool install {NAME} --with {package}" if tool == "uv tool" else f"{_pip(tool)} {package}"


def upgrade_command() -> str:
    """The command that installs the newest version."""
    tool = installer()
    if tool in ("uv tool", "pipx"):
        return f"{tool} upgrade {NAME}"
    return f"{_pip(tool)} -U {NAME}"


def _pip(tool: Installer) -> str:
    return f"uv pip install --python {shlex.quote(sys.executable)}" if tool == "uv pip" else "pip install"


def _origin() -> str:
    """Where it was installed from, if that was no index of packages."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        told = distribution(NAME).read_text("direct_url.json")
        return f" @ {json.loads(told)['url']}" if told else ""
    except (PackageNotFoundError, ValueError, KeyError, TypeError):
        return ""
