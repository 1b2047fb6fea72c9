"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from ggufvlm.hardware.cpu import allowed_processors, physical_cores
from ggufvlm.hardware.system import memory_limits


def describe_machine() -> dict[str, Any]:
    """See :mod:`ggufvlm.tools.bench`."""
    from ggufvlm.llama.devices import cpu_features, library, list_devices

    allowed, devices, found = allowed_processors(), list_devices(), library()
    described = next((device.description for device in devices if device.kind == "cpu"), "")
    return {
        "cpu": cpu_name() or described or platform.machine(),
        "cores": physical_cores(allowed) or len(allowed),
        "memory": memory_limits().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        "gpus": [device.description for device in devices if device.is_gpu],
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "llama_cpp_python": found.binding,
        "ggml": found.ggml,
        "ggml_commit": found.commit,
        "features": [name for name, value in cpu_features().items() if value != "0"],
    }


def cpu_name() -> str | None:
    """As Linux calls the processor; None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return None
