"""Memory and CPU time that this process may use: the machine's, and what its control group leaves of them.

A container or a service may have far less than the machine. Every limit on the way from the process's own group up to
the root holds, in both versions of cgroups. ``root`` stands for ``/`` in all functions, so that tests can have theirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
_UNLIMITED = 1 << 60  # v1 writes a huge number where there is no limit


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimits:
    """What memory there is, in bytes; ``None`` where the system does not say, or where there is no limit."""

    total: int | None
    available: int | None
    swap_free: int | None
    cgroup_limit: int | None
    cgroup_available: int | None


def memory_limits(root: Path = _ROOT) -> MemoryLimits:
    """The memory of the machine, and what the control groups leave of it."""
    total, available, swap = _windows_memory() if sys.platform == "win32" else _proc_memory(root)
    groups = [group for group in map(_memory_group, _groups("memory", root)) if group is not None]
    return MemoryLimits(
        total=total if total is not None else _physical_memory(),
        available=available,
        swap_free=swap,
        cgroup_limit=min((limit for limit, _ in groups), default=None),
        cgroup_available=min((limit - used for limit, used in groups), default=None),
    )


def available_memory(root: Path = _ROOT) -> int | None:
    """Bytes that this process could still take without being killed; None if the system does not say.

    Free swap counts: it makes things slow, not impossible.
    """
    limits = memory_limits(root)
    machine = limits.available if limits.available is not None else limits.total
    if machine is not None:
        machine += limits.swap_free or 0
    return min((n for n in (machine, limits.cgroup_available) if n is not None), default=None)


def installed_memory(root: Path = _ROOT) -> int | None:
    """Bytes that this process can have at most, however much others take now; None if the system does not say."""
    limits = memory_limits(root)
    return min((n for n in (limits.total, limits.cgroup_limit) if n is not None), default=None)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """CPUs granted by the control groups, ``None`` without a limit."""
    return min((quota for quota in map(_cpu_group, _groups("cpu", root)) if quota is not None), default=None)


def _proc_memory(root: Path) -> tuple[int | None, int | None, int | None]:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        values = {key: int(rest.split()[0]) << 10 for key, _, rest in (line.partition(":") for line in lines)}
    except (OSError, ValueError, IndexError):
        return None, None, None
    return values.get("MemTotal"), values.get("MemAvailable"), values.get("SwapFree")


def _physical_memory() -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _windows_memory() -> tuple[int | None, int | None, int | None]:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = [
            *(("length", ctypes.c_uint32), ("load", ctypes.c_uint32)),
            *((name, ctypes.c_uint64) for name in ("total", "free", "page_total", "page_free")),
            *((name, ctypes.c_uint64) for name in ("virtual_total", "virtual_free", "extended")),
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None, None
    return status.total, status.free, max(0, status.page_free - status.free)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the control groups that hold for this process, from its own up to the root."""
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            top = mount
        elif controller in names.split(","):
            top = mount / controller
        else:
            continue
        group = top / path.strip("/")
        # seen from inside a container the path may be that of the host, which does not exist here
        yield from (folder for folder in (group, *group.parents) if folder == top or top in folder.parents)


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()


def _memory_group(folder: Path) -> tuple[int, int] | None:
    """Limit and use of one group, without the file pages that the kernel would give up first."""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    if not limit or limit >= _UNLIMITED:
        return None
    used = _number(folder / "memory.current")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes") or 0
    statistics = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat") if " " in line)
    idle = statistics.get("total_inactive_file") or statistics.get("inactive_file") or "0"
    return limit, max(0, used - int(idle))


def _cpu_group(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    for line in _lines(folder / "cpu.max"):
        words = line.split()
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal():
            quota, period = int(words[0]), int(words[1])
    return quota / period if quota and period and quota > 0 else None


def _number(path: Path) -> int | None:
    for line in _lines(path):
        text = line.strip()
        return int(text) if text.lstrip("-").isdecimal() else None
    return None
