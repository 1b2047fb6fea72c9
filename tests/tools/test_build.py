from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ggufvlm.errors import EngineError, UsageError
from ggufvlm.tools import build
from ggufvlm.tools.build import (
    BuildPlan,
    BuildPreset,
    ToolCheck,
    as_typed,
    check_tools,
    load_presets,
    plan_build,
    run_build,
)

FILE = Path(build.__file__).parents[2] / build.FILE_NAME
# `option(...)` and `set(... CACHE ...)` of ggml/CMakeLists.txt as vendored by llama-cpp-python 0.3.36, and CMake's own
KNOWN_FLAGS = {
    *("GGML_NATIVE", "GGML_CUDA", "GGML_METAL", "GGML_METAL_EMBED_LIBRARY", "GGML_VULKAN", "GGML_HIP", "GGML_SYCL"),
    *("CMAKE_BUILD_TYPE", "CMAKE_C_COMPILER", "CMAKE_CXX_COMPILER"),
}
FLAGS = {
    "cpu": {"GGML_NATIVE": "ON"},
    "cpu-portable": {"GGML_NATIVE": "OFF"},
    "cuda": {"GGML_NATIVE": "ON", "GGML_CUDA": "ON"},
    "metal": {"GGML_NATIVE": "ON", "GGML_METAL": "ON", "GGML_METAL_EMBED_LIBRARY": "ON"},
    "vulkan": {"GGML_NATIVE": "ON", "GGML_VULKAN": "ON"},
    "hip": {"GGML_NATIVE": "ON", "GGML_HIP": "ON"},
    "sycl": {"GGML_NATIVE": "ON", "GGML_SYCL": "ON", "CMAKE_C_COMPILER": "icx", "CMAKE_CXX_COMPILER": "icpx"},
}


def test_presets_and_their_flags() -> None:
    presets = load_presets()
    assert {name: preset.variables for name, preset in presets.items()} == {
        name: {"CMAKE_BUILD_TYPE": "Release", **flags} for name, flags in FLAGS.items()
    }
    assert all(set(preset.variables) <= KNOWN_FLAGS and preset.description for preset in presets.values())


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
def test_cmake_accepts_the_presets(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path)
    done = subprocess.run(["cmake", "--list-presets"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f'"{name}"' in done.stdout for name in FLAGS)


def test_they_need_no_newer_cmake_than_llama_cpp_python_does() -> None:
    presets = json.loads(FILE.read_text())
    assert (presets["version"], presets["cmakeMinimumRequired"]["minor"]) == (3, 21)


def test_a_parent_named_first_wins(tmp_path: Path) -> None:
    parents = [{"name": name, "hidden": True, "cacheVariables": {"A": name, name: "1"}} for name in ("x", "y")]
    child = {"name": "z", "inherits": ["x", "y"], "cacheVariables": {"B": "z"}}
    path = tmp_path / "presets.json"
    path.write_text(json.dumps({"version": 3, "configurePresets": [*parents, child]}))
    assert load_presets(path)["z"].variables == {"A": "x", "x": "1", "y": "1", "B": "z"}


def test_an_installation_without_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="missing from this installation"):
        load_presets(tmp_path / "no.json")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tools that seem to be on PATH, by name."""
    found = {"c++": "/usr/bin/c++", "clang++": "/usr/bin/clang++", "cl": "C:/cl.exe"}

    def which(name: str, path: str | None = None) -> str | None:
        return found.get(name) if path is None else found.get(f"{path.split(':')[0]}/{name}")

    monkeypatch.setattr(shutil, "which", which)
    for name in ("CXX", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "VULKAN_SDK"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.mark.parametrize("preset", FLAGS)
@pytest.mark.usefixtures("tools")
def test_the_command_of_each_preset(preset: str) -> None:
    plan = plan_build(preset, "0.3.36")
    assert plan.command[:4] == (sys.executable, "-m", "pip", "install")
    assert plan.command[-3:] == ("--no-binary", "llama-cpp-python", "llama-cpp-python==0.3.36")
    assert {"--force-reinstall", "--no-deps", "--no-cache-dir"} <= set(plan.command)
    flags = {"CMAKE_BUILD_TYPE": "Release", **FLAGS[preset]}
    assert plan.environment == {"CMAKE_ARGS": " ".join(f"-D{name}={value}" for name, value in flags.items())}


@pytest.mark.usefixtures("tools")
def test_the_version_is_the_installed_one_where_none_is_named() -> None:
    from importlib.metadata import version

    assert plan_build("cpu").command[-1] == f"llama-cpp-python=={version('llama-cpp-python')}"


def test_without_pip_uv_is_taken(tools: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    tools["uv"] = "/bin/uv"
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    assert plan_build("cpu").command[:5] == ("/bin/uv", "pip", "install", "--python", sys.executable)


@pytest.mark.usefixtures("tools")
def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no such build: cudda") as caught:
        plan_build("cudda")
    assert caught.value.hint == f"there is {', '.join(FLAGS)}"


PLAN = BuildPlan(
    preset=BuildPreset(name="x", description="", variables={}),
    command=("/my python", "-m", "pip", "it's"),
    environment={"CMAKE_ARGS": "-DA=1 -DB='2 3'"},
)


def test_quoting_in_a_posix_shell() -> None:
    line = as_typed(PLAN, "posix")
    assert shlex.split(line) == ["CMAKE_ARGS=-DA=1 -DB='2 3'", *PLAN.command]


@pytest.mark.skipif(sys.platform == "win32", reason="needs sh")
def test_a_posix_shell_runs_it_as_meant() -> None:
    plan = BuildPlan(
        preset=PLAN.preset,
        command=(sys.executable, "-c", "import os, sys; print(os.environ['CMAKE_ARGS'], sys.argv[1:])", "a b", "$HOME"),
        environment=PLAN.environment,
    )
    done = subprocess.run(["sh", "-c", as_typed(plan, "posix")], capture_output=True, text=True, check=True)
    assert done.stdout == "-DA=1 -DB='2 3' ['a b', '$HOME']\n"


def test_quoting_on_windows() -> None:
    assert as_typed(PLAN, "cmd") == 'set "CMAKE_ARGS=-DA=1 -DB=\'2 3\'" && "/my python" -m pip it\'s'
    powershell = "$env:CMAKE_ARGS = '-DA=1 -DB=''2 3'''; & '/my python' '-m' 'pip' 'it''s'"
    assert as_typed(PLAN, "powershell") == powershell


@pytest.mark.parametrize(
    ("platform", "prompt", "shell"),
    [("linux", None, "posix"), ("darwin", "$P$G", "posix"), ("win32", "$P$G", "cmd"), ("win32", None, "powershell")],
)
def test_the_shell_in_use(monkeypatch: pytest.MonkeyPatch, platform: str, prompt: str | None, shell: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("PROMPT", raising=False)
    if prompt:
        monkeypatch.setenv("PROMPT", prompt)
    assert build.current_shell() == shell


def _missing(preset: str) -> list[str]:
    return [check.tool for check in check_tools(preset) if check.blocks]


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    ("preset", "tool"), [("cuda", "nvcc"), ("hip", "hipcc"), ("sycl", "icpx"), ("vulkan", "glslc")]
)
def test_a_missing_toolkit_blocks_its_preset_only(preset: str, tool: str) -> None:
    assert _missing(preset) == [tool]
    assert _missing("cpu") == []


def test_cmake_and_ninja_may_be_missing(tools: dict[str, str]) -> None:
    assert {check.tool: check.path for check in check_tools("cpu")}["cmake"] is None
    tools["cmake"] = "/usr/bin/cmake"
    assert {check.tool: check.path for check in check_tools("cpu")}["cmake"] == "/usr/bin/cmake"


def test_no_compiler_blocks_every_preset(tools: dict[str, str]) -> None:
    tools.clear()
    assert _missing("cpu") == ["C++ compiler"]


def test_metal_exists_on_a_mac_only(tools: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert _missing("metal") == ["macOS"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _missing("metal") == ["xcrun"]
    tools["xcrun"] = "/usr/bin/xcrun"
    assert _missing("metal") == []


def test_nvcc_is_found_where_it_is_not_on_the_path(tools: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "/opt/my-cuda")
    tools["/opt/my-cuda/bin/nvcc"] = "/opt/my-cuda/bin/nvcc"
    assert plan_build("cuda").environment["CUDACXX"] == "/opt/my-cuda/bin/nvcc"
    tools["nvcc"] = "/usr/bin/nvcc"
    assert "CUDACXX" not in plan_build("cuda").environment


def test_running_hands_on_the_environment_and_keeps_stdout_clean(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; print(os.environ['CMAKE_ARGS'])"
    run_build(BuildPlan(preset=PLAN.preset, command=(sys.executable, "-c", code), environment={"CMAKE_ARGS": "-DA=1"}))
    assert capfd.readouterr() == ("", "-DA=1\n")


@pytest.mark.usefixtures("capfd")
def test_a_failed_build_is_an_error() -> None:
    with pytest.raises(EngineError, match="the x build failed: pip ended with code 3"):
        run_build(BuildPlan(preset=PLAN.preset, command=(sys.executable, "-c", "raise SystemExit(3)")))


def test_nothing_is_run_while_a_tool_is_missing() -> None:
    check = ToolCheck(tool="nvcc", path=None, remedy="install it")
    with pytest.raises(EngineError, match="nvcc is missing for the x build") as caught:
        run_build(BuildPlan(preset=PLAN.preset, command=("/no/such/program",), checks=(check,)))
    assert caught.value.hint == "install it"
