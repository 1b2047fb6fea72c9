"""Real calls: whatever machine and build this is, the answers have to make sense and to agree with each other."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from ggufvlm.llama import devices
from ggufvlm.llama.devices import cpu_features, library, list_devices, supports_gpu


def test_there_is_a_cpu_and_only_one() -> None:
    cpus = [device for device in list_devices() if device.kind == "cpu"]
    assert len(cpus) == 1
    assert cpus[0].backend == "CPU"
    assert cpus[0].shares_memory
    assert not cpus[0].is_gpu
    assert cpus[0].free is None  # ggml's number is not true
    assert (cpus[0].total or 0) > 100_000_000


def test_gpus_are_listed_where_the_build_has_some() -> None:
    gpus = [device for device in list_devices() if device.is_gpu]
    assert supports_gpu() or not gpus
    for gpu in gpus:
        assert gpu.description
        assert 0 <= (gpu.free or 0) <= (gpu.total or 0)


def test_features_are_those_that_llama_cpp_prints() -> None:
    from ggufvlm.llama.bindings import llama

    printed = llama.llama_print_system_info().decode()
    assert cpu_features()
    for name, value in cpu_features().items():
        assert f"{name} = {value}" in printed


def test_versions() -> None:
    from importlib.metadata import version

    found = library()
    assert found.binding == version("llama-cpp-python")
    assert found.ggml
    assert found.ggml[0].isdigit()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_second_ggml_is_loaded() -> None:
    code = (
        "from ggufvlm.llama.devices import *; list_devices(), cpu_features(), library();"
        "print(*sorted({l.split()[-1] for l in open('/proc/self/maps') if 'libggml-base' in l}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == 1


def test_a_library_without_these_functions_gives_unknowns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_find", lambda function: None)
    assert list_devices() == ()
    assert cpu_features() == {}
    assert (library().ggml, library().commit) == (None, None)


def test_a_library_with_some_of_them_gives_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = devices._find
    gone = {"ggml_backend_dev_memory", "ggml_backend_dev_type", "ggml_backend_reg_name"}
    monkeypatch.setattr(devices, "_find", lambda function: None if function in gone else real(function))
    (device, *_) = list_devices()
    assert device.name
    assert (device.kind, device.backend, device.free, device.total) == ("unknown", "", None, None)


def test_the_binding_s_own_prototypes_are_left_alone() -> None:
    from ggufvlm.llama.bindings import llama

    function = llama._lib.ggml_backend_dev_name
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    list_devices()
    assert (function.restype, function.argtypes) == (ctypes.c_void_p, [ctypes.c_void_p])


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="reads x86 flags")
def test_a_native_build_misses_nothing_it_was_built_with() -> None:
    from ggufvlm.hardware.cpu import cpu_flags, missed_features

    used, flags = cpu_features(), cpu_flags()
    assert flags
    assert "sse2" in flags
    assert not set(missed_features(used, flags)) & set(used)
    assert "AVX2" in missed_features({}, flags) or "avx2" not in flags


def test_threads_are_within_what_the_process_may_use() -> None:
    from ggufvlm.hardware.cpu import default_threads

    assert 1 <= default_threads() <= (os.cpu_count() or 1)
