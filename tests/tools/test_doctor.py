from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from huggingface_hub import constants

from ggufvlm.hardware import cpu, system
from ggufvlm.hardware.devices import Device
from ggufvlm.llama import devices
from ggufvlm.models.registry import load_registry
from ggufvlm.tools import doctor
from ggufvlm.tools.doctor import Finding, examine, is_broken

TOPICS = {
    *("ggufvlm", "llama.cpp", "backends", "device", "CPU features", "threads", "memory"),
    *("Hub cache", "settings", "default model", "Hub"),
}
Look = Callable[..., Finding]


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's own Hub cache stays out of it."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


@pytest.fixture
def look() -> Look:
    """The finding on one topic."""

    def look(topic: str, *, offline: bool = True) -> Finding:
        (finding,) = [finding for finding in examine(offline=offline) if finding.topic == topic]
        return finding

    return look


def test_this_machine_can_run_models() -> None:
    findings = examine(offline=True)
    assert {finding.topic for finding in findings} >= TOPICS
    assert not is_broken(findings)
    # what could be better comes with what to do
    assert all(finding.remedy for finding in findings if finding.status != "ok")


def test_a_library_that_cannot_be_loaded_is_the_end(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    def fail() -> None:
        raise OSError("libgomp.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(devices, "library", fail)
    finding = look("llama.cpp")
    assert finding.status == "bad"
    assert finding.text == "cannot be loaded: libgomp.so.1: cannot open shared object file"
    assert finding.remedy == "ggufvlm doctor --build cpu --run"
    assert is_broken(examine(offline=True))


def test_a_build_that_leaves_features_unused(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(devices, "cpu_features", lambda: {"AVX2": "1", "REPACK": "1"})
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset({"avx2", "avx512_bf16"}))
    finding = look("CPU features")
    assert (finding.status, finding.remedy) == ("warn", "ggufvlm doctor --build cpu --run")
    assert finding.text == "uses AVX2, REPACK; does not use AVX512_BF16"


def test_a_gpu_that_this_build_does_not_use(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setattr(devices, "supports_gpu", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else None)
    assert look("GPU").remedy == "ggufvlm doctor --build cuda --run"


@pytest.mark.slow
def test_gpus_are_shown_with_their_memory(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    gpu = Device(name="CUDA0", description="H200", kind="gpu", backend="CUDA", free=10**11, total=15 * 10**10)
    monkeypatch.setattr(devices, "list_devices", lambda: (gpu,))
    monkeypatch.setattr(devices, "supports_gpu", lambda: True)
    assert look("device").text == "CUDA0 (gpu): H200, 150.0 GB, 100.0 GB free"
    assert look("backends").text == "CUDA"


@pytest.mark.slow
def test_limits_of_a_container(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    limits = system.MemoryLimits(
        total=16 * 10**9, available=8 * 10**9, swap_free=0, cgroup_limit=2 * 10**9, cgroup_available=10**9
    )
    monkeypatch.setattr(system, "memory_limits", lambda root=None: limits)
    monkeypatch.setattr(system, "cpu_quota", lambda root=None: 1.5)
    assert look("control group").text == "memory limited to 2.0 GB, 1.0 GB of it left"
    assert look("threads").text.endswith("limited to 1.5 CPUs by a control group")
    assert (look("memory").status, look("memory").text) == ("warn", "1.0 GB free of 16.0 GB")


# -- models


def _cached(cache: Path, repo: str, revision: str, name: str, size: int) -> None:
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / "0123"
    for path in (blob, folder / "snapshots" / revision / name):
        path.parent.mkdir(parents=True, exist_ok=True)
    with blob.with_name(f"blob-{name}").open("wb") as file:
        file.truncate(size)
    (folder / "snapshots" / revision / name).symlink_to(blob.with_name(f"blob-{name}"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_the_cache_is_measured_and_the_default_model_found_in_it(empty_cache: Path, look: Look) -> None:
    spec = load_registry().default
    assert look("default model").remedy == f"ggufvlm pull {spec.id}"
    for file in (spec.model_file(), spec.projector()):
        assert file.repo
        assert file.revision
        _cached(empty_cache, file.repo, file.revision, file.name, 300_000_000)
    assert "1 model repository, 0.6 GB" in look("Hub cache").text  # each blob once, not its link besides
    assert look("default model") == Finding(topic="default model", status="ok", text=f"{spec.id}, on this machine")


def test_the_built_in_model_and_files_are_always_there(
    monkeypatch: pytest.MonkeyPatch, look: Look, tmp_path: Path
) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "demo")
    assert look("default model").status == "ok"
    path = tmp_path / "my.gguf"
    path.write_bytes(b"")
    monkeypatch.setenv("GGUFVLM_MODEL", str(path))
    assert look("default model").text == str(path)


def test_a_default_model_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setenv("GGUFVLM_MODEL", "qwen2-vl-2c")
    finding = look("default model")
    assert (finding.status, finding.text) == ("warn", "unknown model: qwen2-vl-2c")
    assert finding.remedy is not None
    assert "qwen2-vl-2b" in finding.remedy


@pytest.mark.slow
def test_settings_that_cannot_be_read_are_a_finding_too(tmp_path: Path, look: Look) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("model = ")
    assert look("settings").text.endswith("config: config.toml")
    assert look("default model").status == "warn"


# -- the Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A server at HF_ENDPOINT; its ``status`` is what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.server.asked += 1  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.asked = 200, 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_hub_that_answers(hub: HTTPServer, look: Look) -> None:
    assert look("Hub", offline=False).status == "ok"
    hub.status = 503  # type: ignore[attr-defined]
    assert look("Hub", offline=False).text.endswith("answers 503")


@pytest.mark.slow
def test_no_request_is_made_offline(hub: HTTPServer, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("Hub").text == "not asked"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert look("Hub", offline=False).text == "not asked: HF_HUB_OFFLINE is set"
    assert hub.asked == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{port}", "nonsense", "http://[::1"])
def test_a_hub_that_cannot_be_reached(endpoint: str, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", endpoint.format(port=unused.getsockname()[1]))
        finding = look("Hub", offline=False)
    assert finding.status == "warn"
    assert "cannot be reached" in finding.text
    assert not is_broken([finding])


# -- packages


def test_optional_features(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    requirements = [
        "numpy>=1.26",
        'pypdfium2>=4; extra == "pdf"',
        'pillow>=1; (python_version > "3") and extra == "pretty"',
        'pytest; extra == "test"',
    ]

    def version(name: str) -> str:
        if name == "pypdfium2":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("importlib.metadata.requires", lambda name: requirements)
    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr(devices, "library", lambda: devices.Library(binding="1", ggml=None, commit=None))
    extras = {finding.topic: finding for finding in examine(offline=True) if finding.topic.startswith("extra")}
    assert set(extras) == {"extra pdf", "extra pretty"}
    assert extras["extra pretty"].text == "installed"
    assert extras["extra pdf"].text == "not installed: pypdfium2"
    assert extras["extra pdf"].remedy == "pip install 'ggufvlm[pdf]'"
