"""What this machine offers: CPU threads and whether this build can use a GPU."""

from __future__ import annotations

import os
from pathlib import Path


def default_threads() -> int:
    """Physical cores that this process may use, within its cgroup's CPU quota; at least 1."""
    allowed = _allowed_processors()
    cores = _physical_cores(allowed) or len(allowed)
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota)) if quota is not None else cores)


def _allowed_processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _physical_cores(processors: set[int]) -> int | None:
    """How many cores those logical processors share, where the system tells (Linux)."""
    siblings = set()
    for processor in processors:
        topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text(encoding="ascii").strip())
        except OSError:
            return None
    return len(siblings)


def _cgroup_quota() -> float | None:
    """CPUs granted by cgroup v2's ``cpu.max`` or v1's CFS quota, ``None`` without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else max(1.0, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        quota_us = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if quota_us <= 0 else max(1.0, quota_us / period_us)


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    from ggufvlm.llama.bindings import llama

    return bool(llama.llama_supports_gpu_offload())
