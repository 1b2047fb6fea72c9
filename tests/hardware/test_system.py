"""Limits read from a folder that stands for ``/``, as containers, services and both versions of cgroups show them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ggufvlm.hardware import cpu
from ggufvlm.hardware.cpu import cpu_flags, missed_features
from ggufvlm.hardware.system import available_memory, cpu_quota, memory_limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Linux's files")

GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\nSwapFree:        1048576 kB\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _with(tmp_path, {"proc/meminfo": MEMINFO})


def _with(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def test_a_machine_without_limits(root: Path) -> None:
    limits = memory_limits(root)
    assert (limits.total, limits.available, limits.swap_free) == (16 * GIB, 8 * GIB, GIB)
    assert (limits.cgroup_limit, limits.cgroup_available, cpu_quota(root)) == (None, None, None)
    assert available_memory(root) == 9 * GIB


def test_a_container_sees_its_own_group_as_the_root(root: Path) -> None:
    group = {"memory.max": 2 * GIB, "memory.current": GIB, "memory.stat": f"anon 5\ninactive_file {GIB // 2}\n"}
    _with(root, {"proc/self/cgroup": "0::/\n"} | {f"sys/fs/cgroup/{name}": text for name, text in group.items()})
    limits = memory_limits(root)
    # pages of files that nobody has touched for a while do not count as used
    assert (limits.cgroup_limit, limits.cgroup_available) == (2 * GIB, 3 * GIB // 2)
    assert available_memory(root) == 3 * GIB // 2


def test_a_service_may_be_limited_by_any_group_above_it(root: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/app.service\n",
        "sys/fs/cgroup/user.slice/memory.max": 4 * GIB,
        "sys/fs/cgroup/user.slice/memory.current": 3 * GIB,
        "sys/fs/cgroup/user.slice/cpu.max": "150000 100000",
        "sys/fs/cgroup/user.slice/app.service/memory.max": "max",
        "sys/fs/cgroup/user.slice/app.service/cpu.max": "max 100000",
    }
    _with(root, files)
    assert memory_limits(root).cgroup_available == GIB
    assert cpu_quota(root) == 1.5


def test_version_1(root: Path) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": GIB,
        "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": GIB // 4,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": 50_000,
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": 100_000,
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100_000,
    }
    _with(root, files)
    limits = memory_limits(root)
    assert (limits.cgroup_limit, limits.cgroup_available) == (GIB, 3 * GIB // 4)
    assert cpu_quota(root) == 0.5


def test_version_1_in_a_container_that_shows_the_host_s_path(root: Path) -> None:
    files = {"proc/self/cgroup": "5:memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": GIB}
    assert memory_limits(_with(root, files)).cgroup_limit == GIB


@pytest.mark.parametrize("text", ["", "nonsense", "0::\n", "0::/../..\n", "a:b:c:d"])
def test_files_that_make_no_sense_mean_no_limit(root: Path, text: str) -> None:
    files = {"proc/self/cgroup": text, "sys/fs/cgroup/memory.max": "x", "sys/fs/cgroup/cpu.max": "a b c"}
    _with(root, files)
    assert memory_limits(root).cgroup_limit is None
    assert cpu_quota(root) is None


def test_a_damaged_meminfo_tells_nothing(root: Path) -> None:
    (root / "proc/meminfo").write_text("MemAvailable:\n")
    assert memory_limits(root).available is None


def test_this_machine() -> None:
    limits = memory_limits()
    assert (limits.total or 0) >= (limits.available or 0)
    assert (available_memory() or 0) > 0


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")


def test_flags_of_both_kinds_of_cpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_flags(root) is None
    assert cpu_flags(_with(root, {"proc/cpuinfo": "processor\t: 0\n"})) is None
    flags = cpu_flags(_with(root, {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"}))
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    assert missed_features({"NEON": "1"}, flags) == ("DOTPROD", "MATMUL_INT8")


@pytest.mark.usefixtures("x86")
def test_what_a_portable_build_leaves_unused() -> None:
    avx512 = {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
    zen5 = frozenset({"avx", "avx2", "fma", "f16c", "bmi2", "avx_vnni", "avx512_vnni", "avx512_bf16", *avx512})
    portable = dict.fromkeys(("AVX", "AVX2", "FMA", "F16C", "BMI2"), "1")
    assert missed_features(portable, zen5) == ("AVX_VNNI", "AVX512", "AVX512_VNNI", "AVX512_BF16")
    assert missed_features(portable, zen5 - {"avx512dq"}) == ("AVX_VNNI", "AVX512_VNNI", "AVX512_BF16")
    assert missed_features({**portable, "AVX512": "1", "AVX512_VNNI": "1", "AVX512_BF16": "1"}, zen5) == ()
    assert missed_features(portable, None) == ()
