"""How to build llama-cpp-python for a kind of hardware: flags from CMakePresets.json, tools checked, one pip command.

The presets are the single place of build flags; the pip command hands them on through ``CMAKE_ARGS``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ggufvlm.errors import EngineError, UsageError
from ggufvlm.version import NAME, installer

FILE_NAME = "CMakePresets.json"
PACKAGE = "llama-cpp-python"
Shell = Literal["posix", "powershell", "cmd"]

# preset -> compiler of its toolkit, folders to look in beside PATH, what to install
_CUDA_FOLDERS = ("$CUDA_HOME/bin", "$CUDA_PATH/bin", "/usr/local/cuda/bin", "/opt/cuda/bin")
_TOOLKITS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "cuda": ("nvcc", _CUDA_FOLDERS, "install the CUDA toolkit: https://developer.nvidia.com/cuda-downloads"),
    "hip": ("hipcc", ("$ROCM_PATH/bin", "/opt/rocm/bin"), "install ROCm with its HIP SDK: https://rocm.docs.amd.com"),
    "sycl": ("icpx", (), "install Intel oneAPI, and in this shell: source /opt/intel/oneapi/setvars.sh"),
    "vulkan": (
        "glslc",
        ("$VULKAN_SDK/bin",),
        "install the Vulkan SDK; on Debian and Ubuntu: apt install libvulkan-dev glslc",
    ),
    "metal": ("xcrun", (), "install the command line tools: xcode-select --install"),
}
_COMPILERS = {"win32": ("cl", "clang-cl", "g++"), "darwin": ("clang++", "c++")}
_GET_COMPILER = {
    "win32": "install Visual Studio Build Tools with C++, and run this in their developer prompt",
    "darwin": "install the command line tools: xcode-select --install",
    "linux": "install a C++ compiler; apt install build-essential, or dnf install gcc-c++",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPreset:
    """One way to build, with the flags it inherits."""

    name: str
    description: str
    variables: Mapping[str, str]

    @property
    def cmake_args(self) -> tuple[str, ...]:
        return tuple(f"-D{name}={value}" for name, value in self.variables.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCheck:
    """Whether one tool is there. ``remedy`` says how to get a missing one; without it the build does without."""

    tool: str
    path: str | None
    remedy: str | None = None

    @property
    def blocks(self) -> bool:
        return self.path is None and self.remedy is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """What to run: pip's arguments, what it needs in its environment, and what was found of the tools."""

    preset: BuildPreset
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[ToolCheck, ...] = ()

    @property
    def missing(self) -> tuple[ToolCheck, ...]:
        """Tools without which the build cannot succeed."""
        return tuple(check for check in self.checks if check.blocks)


def load_presets(path: Path | None = None) -> dict[str, BuildPreset]:
    """The presets by name, in the file's order, without hidden ones.

    Raises:
        EngineError: the file is missing from this installation.
    """
    package = Path(__file__).parents[1]
    # a wheel carries the file inside the package; an editable install leaves it in the repository, beside the package
    places = [path] if path else [package / FILE_NAME, package.parent / FILE_NAME]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise EngineError(f"{FILE_NAME} is missing from this installation", hint="install ggufvlm again")
    raw = {entry["name"]: entry for entry in json.loads(found.read_text(encoding="utf-8"))["configurePresets"]}
    return {
        name: BuildPreset(name=name, description=entry.get("description", ""), variables=_variables(name, raw))
        for name, entry in raw.items()
        if not entry.get("hidden")
    }


def _variables(name: str, raw: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    parents = raw[name].get("inherits", [])
    merged: dict[str, str] = {}
    for parent in [parents] if isinstance(parents, str) else reversed(parents):
        merged |= _variables(parent, raw)
    return {**merged, **raw[name].get("cacheVariables", {})}


def plan_build(preset: str, version: str | None = None) -> BuildPlan:
    """The command for one preset, on this machine.

    Args:
        preset: its name.
        version: of llama-cpp-python; ``None`` is the installed one.

    Raises:
        UsageError: there is no such preset.
    """
    presets = load_presets()
    if preset not in presets:
        raise UsageError(f"no such build: {preset}", hint=f"there is {', '.join(presets)}")
    checks = check_tools(preset)
    if find_spec("pip") is None and not shutil.which("uv") and installer() != "pipx":
        checks.append(ToolCheck(tool="pip", path=None, remedy=f"{shlex.quote(sys.executable)} -m ensurepip"))
    environment = {"CMAKE_ARGS": shlex.join(presets[preset].cmake_args)}
    toolkit = next((check.path for check in checks if check.tool == "nvcc"), None)
    if toolkit and not shutil.which("nvcc"):
        environment["CUDACXX"] = toolkit  # CMake looks for it on PATH only
    requirement = f"{PACKAGE}=={version or _installed_version()}"
    # --no-deps: a new build of one package is no reason to replace numpy
    options = ("--force-reinstall", "--no-deps", "--no-cache-dir", "--no-binary", PACKAGE, requirement)
    return BuildPlan(
        preset=presets[preset], command=(*_installer(), *options), environment=environment, checks=tuple(checks)
    )


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "0.3.36"


def _installer() -> tuple[str, ...]:
    """pip of this Python, by the tool that made its environment; uv where that has no pip."""
    uv, pipx = shutil.which("uv"), shutil.which("pipx")
    if installer() == "pipx" and pipx:
        return (pipx, "runpip", NAME, "install")
    if find_spec("pip") is None and uv:
        return (uv, "pip", "install", "--python", sys.executable)
    return (sys.executable, "-m", "pip", "install")


def check_tools(preset: str) -> list[ToolCheck]:
    """Compiler, CMake, Ninja and the toolkit of a preset: where they are, or how to get them."""
    wanted = os.environ.get("CXX")
    names = (wanted,) if wanted else _COMPILERS.get(sys.platform, ("c++", "g++", "clang++"))
    compiler = next((path for path in map(shutil.which, names) if path), None)
    remedy = _GET_COMPILER.get(sys.platform, _GET_COMPILER["linux"])
    checks = [ToolCheck(tool="C++ compiler", path=compiler, remedy=remedy)]
    # llama-cpp-python's build brings CMake and Ninja along where they are missing
    checks += [ToolCheck(tool=tool, path=shutil.which(tool)) for tool in ("cmake", "ninja")]
    if preset == "metal" and sys.platform != "darwin":
        checks.append(
            ToolCheck(tool="macOS", path=None, remedy="take another preset: Metal exists on Apple computers only")
        )
    elif preset in _TOOLKITS:
        tool, folders, remedy = _TOOLKITS[preset]
        checks.append(ToolCheck(tool=tool, path=_find_tool(tool, folders), remedy=remedy))
    return checks


def _find_tool(tool: str, folders: tuple[str, ...]) -> str | None:
    places = [os.path.expandvars(folder) for folder in folders]
    existing = [place for place in places if not place.startswith("$")]
    return shutil.which(tool) or shutil.which(tool, path=os.pathsep.join(existing) or os.devnull)


def current_shell() -> Shell:
    """The kind of shell that the command will be typed into."""
    if sys.platform != "win32":
        return "posix"
    return "cmd" if "PROMPT" in os.environ else "powershell"


def as_typed(plan: BuildPlan, shell: Shell | None = None) -> str:
    """The plan as one line for a shell."""
    shell = shell or current_shell()
    if shell == "posix":
        settings = [f"{name}={shlex.quote(value)}" for name, value in plan.environment.items()]
        return " ".join([*settings, shlex.join(plan.command)])
    if shell == "cmd":
        settings = [f'set "{name}={value}"' for name, value in plan.environment.items()]
        return " && ".join([*settings, subprocess.list2cmdline(plan.command)])
    settings = [f"$env:{name} = {_powershell_quote(value)}" for name, value in plan.environment.items()]
    return "; ".join([*settings, "& " + " ".join(_powershell_quote(word) for word in plan.command)])


def _powershell_quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def run_build(plan: BuildPlan) -> None:
    """Build and install. Takes minutes; what pip says goes to the terminal.

    Raises:
        EngineError: a tool is missing, or pip failed.
    """
    if plan.missing:
        first = plan.missing[0]
        raise EngineError(f"{first.tool} is missing for the {plan.preset.name} build", hint=first.remedy)
    # its output is not this command's answer, so it goes where progress goes
    done = subprocess.run(plan.command, env={**os.environ, **plan.environment}, stdout=sys.stderr, check=False)
    if done.returncode:
        raise EngineError(
            f"the {plan.preset.name} build failed: pip ended with code {done.returncode}",
            hint="the first line with `error:` above says why",
        )
