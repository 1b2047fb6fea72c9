"""What this build of llama.cpp can compute on: backends, devices with their memory, CPU features.

ggml's functions are not in the Python binding. They are taken from libllama's own handle: opening the ggml library
beside it would load a second one with a registry of its own. Only functions with scalar results are called, so that
no structure's layout is taken for granted; one that is missing makes its answer unknown.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ggufvlm.hardware.devices import Device, DeviceKind

_KINDS: tuple[DeviceKind, ...] = ("cpu", "gpu", "igpu", "accel", "meta")  # enum ggml_backend_dev_type
_MAX_FEATURES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """Versions; ``None`` where the library does not tell."""

    binding: str
    ggml: str | None
    commit: str | None


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    from ggufvlm.llama.bindings import llama

    return bool(llama.llama_supports_gpu_offload())


def library() -> Library:
    """Which llama.cpp this is."""
    from ggufvlm.llama.bindings import version

    return Library(binding=version, ggml=_text("ggml_version"), commit=_text("ggml_commit"))


def list_devices() -> tuple[Device, ...]:
    """All devices, in ggml's order; empty if this build does not tell."""
    return tuple(_describe(handle) for handle in _handles())


def offload_devices() -> tuple[Device, ...]:
    """The devices that layers can be put on; empty if this build of llama.cpp knows no GPU."""
    return list_devices() if supports_gpu() else ()


def cpu_features() -> dict[str, str]:
    """What the CPU backend was built with, by ggml's names (AVX2, REPACK, OPENMP ...); empty if it does not tell."""
    device = next((handle for handle in _handles() if _kind(handle) == "cpu"), None)
    registry = _call("ggml_backend_dev_backend_reg", ctypes.c_void_p, device) if device else None
    address = _call("ggml_backend_reg_get_proc_address", ctypes.c_void_p, registry, b"ggml_backend_get_features")
    if not registry or not address:
        return {}
    pair = ctypes.c_char_p * 2  # struct ggml_backend_feature: name, value
    features = ctypes.CFUNCTYPE(ctypes.POINTER(pair), ctypes.c_void_p)(address)(registry)
    found: dict[str, str] = {}
    for index in range(_MAX_FEATURES if features else 0):
        name, value = features[index]
        if not name:
            break
        found[name.decode()] = (value or b"").decode()
    return found


def _handles() -> Iterator[int]:
    for index in range(_call("ggml_backend_dev_count", ctypes.c_size_t) or 0):
        handle = _call("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t(index))
        if handle:
            yield handle


def _describe(handle: int) -> Device:
    registry = _call("ggml_backend_dev_backend_reg", ctypes.c_void_p, handle)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _call("ggml_backend_dev_memory", None, handle, ctypes.byref(free), ctypes.byref(total))
    kind = _kind(handle)
    return Device(
        name=_text("ggml_backend_dev_name", handle) or "",
        description=_text("ggml_backend_dev_description", handle) or "",
        kind=kind,
        backend=(_text("ggml_backend_reg_name", registry) if registry else None) or "",
        # ggml calls all of the CPU's memory free
        free=free.value if kind != "cpu" and total.value else None,
        total=total.value or None,
    )


def _kind(handle: int) -> DeviceKind:
    number = _call("ggml_backend_dev_type", ctypes.c_int, handle)
    return _KINDS[number] if number is not None and 0 <= number < len(_KINDS) else "unknown"


def _text(function: str, *arguments: Any) -> str | None:
    value = _call(function, ctypes.c_char_p, *arguments)
    return value.decode("utf-8", "replace") if value else None


def _call(function: str, result: Any, *arguments: Any) -> Any:
    """Call a ggml function with pointers (as numbers), bytes or ctypes values; None if the library has none such."""
    native = _find(function)
    if native is None:
        return None
    native.restype = result
    return native(*(ctypes.c_void_p(value) if isinstance(value, int) else value for value in arguments))


def _find(function: str) -> Any:
    from ggufvlm.llama.bindings import llama

    for handle in (llama._lib, *_windows_libraries()):  # noqa: SLF001 - the binding offers no other way
        try:
            # a prototype of our own: the handle's attributes are shared with the binding and with projector.py
            return ctypes.CDLL(None, handle=handle._handle)[function]  # noqa: SLF001 - ctypes' own
        except AttributeError:
            continue
    return None


def _windows_libraries() -> Iterator[Any]:
    """On Windows a library shows no symbols of those it depends on; the system hands out the loaded ones by name."""
    for name in ("ggml.dll", "ggml-base.dll", "ggml-cpu.dll") if sys.platform == "win32" else ():
        try:
            yield ctypes.CDLL(name)
        except OSError:
            continue
