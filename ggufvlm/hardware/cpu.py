"""The CPU: how many threads to compute with, and what it can that this build of llama.cpp does not use."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from ggufvlm.hardware.system import cpu_quota

_ROOT = Path("/")

# ggml's name of a feature -> the flags that Linux shows for it
_X86_FLAGS = {
    "AVX": ("avx",),
    "AVX2": ("avx2",),
    "FMA": ("fma",),
    "F16C": ("f16c",),
    "BMI2": ("bmi2",),
    "AVX_VNNI": ("avx_vnni",),
    "AVX512": ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
    "AVX512_VBMI": ("avx512vbmi",),
    "AVX512_VNNI": ("avx512_vnni",),
    "AVX512_BF16": ("avx512_bf16",),
    "AMX_INT8": ("amx_tile", "amx_int8"),
}
_ARM_FLAGS = {
    "NEON": ("asimd",),
    "DOTPROD": ("asimddp",),
    "FP16_VA": ("asimdhp",),
    "MATMUL_INT8": ("i8mm",),
    "SVE": ("sve",),
    "SME": ("sme",),
}
BF16_FEATURES = ("AVX512_BF16", "AMX_BF16", "AMX_INT8")
"""Of a library: any of them makes BF16 quick. With AMX_INT8 ggml's AMX kernels are there, which take BF16, too."""

# Wider ones of the same use: what makes the narrower one superfluous
_SUPERSEDED = {"AVX_VNNI": "AVX512_VNNI"}


def has_fast_bf16(features: Mapping[str, str]) -> bool:
    """Whether a library computes BF16 with instructions made for it.

    Args:
        features: from :func:`ggufvlm.llama.devices.cpu_features`.
    """
    return any(features.get(name, "0") != "0" for name in BF16_FEATURES)


def cpu_has_bf16(root: Path = _ROOT) -> bool:
    """Whether this CPU has instructions for BF16, whatever the library makes of them; False where that is not known."""
    return (cpu_flags(root) or frozenset()).issuperset(_X86_FLAGS["AVX512_BF16"])


def default_threads() -> int:
    """Physical cores that this process may use, within its cgroup's CPU quota; at least 1."""
    allowed = allowed_processors()
    cores = physical_cores(allowed) or len(allowed)
    quota = cpu_quota()
    return max(1, min(cores, int(quota)) if quota is not None else cores)


def allowed_processors() -> set[int]:
    """Logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(processors: set[int]) -> int | None:
    """How many cores those logical processors share, where the system says so (Linux)."""
    siblings = set()
    for processor in processors:
        topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text(encoding="ascii").strip())
        except OSError:
            return None
    return len(siblings)


def cpu_flags(root: Path = _ROOT) -> frozenset[str] | None:
    """The flags that Linux shows for the first processor; None where it shows none."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return None


def missed_features(used: Mapping[str, str], flags: frozenset[str] | None) -> tuple[str, ...]:
    """What the CPU has and the build does not use, by ggml's names; empty where the CPU's flags are not known."""
    if not flags:
        return ()
    known = _ARM_FLAGS if platform.machine().lower() in ("aarch64", "arm64") else _X86_FLAGS
    missed = [name for name, needed in known.items() if name not in used and flags.issuperset(needed)]
    return tuple(name for name in missed if _SUPERSEDED.get(name) not in used)
