"""What this machine and this installation can do, and the command that mends what they cannot."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ggufvlm.errors import GGUFVLMError
from ggufvlm.files import expanded
from ggufvlm.version import __version__, extra_command, extras, missing_packages, upgrade_command

Status = Literal["ok", "warn", "bad"]

_HUB = "https://huggingface.co"
_HUB_TIMEOUT = 4.0  # seconds
_ENOUGH_MEMORY = 4 << 30  # the default model with an image, and something for the desktop
_ENOUGH_DISK = 5 << 30
_NO_EXTRAS = frozenset({"test", "dev", "docs", "all"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it is about, in one or two words.
        status: "ok"; "warn": slower or less than could be; "bad": no model can run.
        text: what was found.
        remedy: what to type or do, where something can be done.
    """

    topic: str
    status: Status
    text: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """For JSON."""
        return asdict(self)


def examine(*, offline: bool = False) -> list[Finding]:
    """Look at everything. Nothing is changed, and but for the Hub nothing is asked over the network.

    Args:
        offline: do not ask the Hub whether it can be reached.
    """
    findings = [Finding(topic="ggufvlm", status="ok", text=f"{__version__}, Python {platform.python_version()}")]
    findings += _native()
    findings += _memory()
    findings += [_cache(), _config(), _default_model(), _hub(offline=offline), *_extras()]
    return findings


def is_broken(findings: Iterable[Finding]) -> bool:
    """Whether nothing can run."""
    return any(finding.status == "bad" for finding in findings)


# -- llama.cpp


def _native() -> Iterator[Finding]:
    try:
        from ggufvlm.llama.devices import cpu_features, library, list_devices, supports_gpu

        found, devices, features = library(), list_devices(), cpu_features()
        has_gpu = supports_gpu()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "ggufvlm doctor --build cpu --run"
        yield Finding(topic="llama.cpp", status="bad", text=f"cannot be loaded: {first}", remedy=remedy)
        return
    commit = f", ggml {found.ggml or '?'}" + (f" ({found.commit})" if found.commit else "")
    yield Finding(topic="llama.cpp", status="ok", text=f"llama-cpp-python {found.binding}{commit}")
    backends = ", ".join(dict.fromkeys(device.backend for device in devices if device.backend)) or "not told"
    yield Finding(topic="backends", status="ok", text=backends)
    for device in devices:
        memory = f", {_gb(device.total)}" if device.total else ""
        free = f", {_gb(device.free)} free" if device.free is not None else ""
        text = f"{device.name} ({device.kind}): {device.description}{memory}{free}"
        yield Finding(topic="device", status="ok", text=text)
    if not has_gpu:
        yield _unused_gpu()
    yield from _cpu(features)
    yield _projectors(features)
    yield _llava()


def _llava() -> Finding:
    """Whether CLIP towers come out right; tried with the built-in model, of which the shape only is loaded."""
    from ggufvlm.gguf.header import read_header
    from ggufvlm.models.resolve import find_model
    from ggufvlm.projectors.llava_probe import examine_library
    from ggufvlm.projectors.repair import NO_REPAIR_VARIABLE, is_switched_off

    model = find_model("demo", fetch=None).model
    width = read_header(model, stop_at_vocabulary=True).integer("qwen2vl.embedding_length") or 0
    verdict = examine_library(model, width, remember=False)
    if verdict.order == "shifted" and is_switched_off():
        text = f"images come out wrong, and {NO_REPAIR_VARIABLE} forbids the repair"
        return Finding(topic="LLaVA", status="warn", text=text, remedy=f"unset {NO_REPAIR_VARIABLE}")
    if verdict.order == "unknown":
        return Finding(topic="LLaVA", status="warn", text=verdict.text, remedy=upgrade_command())
    return Finding(topic="LLaVA", status="ok", text=verdict.text)


def _projectors(features: dict[str, str]) -> Finding:
    """In which type the CPU computes them fastest; tried, where it is not clear from the start."""
    from ggufvlm.hardware.cpu import has_fast_bf16
    from ggufvlm.projectors.bf16_trial import bf16_speedup
    from ggufvlm.projectors.policy import wins

    text = "are used as published: this CPU, or this build, has no instructions for BF16"
    if has_fast_bf16(features):
        speedup = bf16_speedup(remember=False)
        measured = "not measured" if speedup is None else f"{speedup:.2f} times as fast as F16, measured"
        won = wins(speedup)
        text = f"run fastest in BF16 here ({measured})" if won else f"are used as published (BF16: {measured})"
    return Finding(topic="projectors", status="ok", text=text)


def _unused_gpu() -> Finding:
    """A CPU build: is there hardware that another build would use?"""
    signs = {
        "cuda": Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi")),
        "metal": sys.platform == "darwin" and platform.machine() == "arm64",
        "hip": Path("/dev/kfd").exists(),
    }
    preset = next((name for name, there in signs.items() if there), None)
    if preset is None:
        return Finding(topic="GPU", status="ok", text="none used: this is a CPU build, and no GPU was noticed")
    text = f"there seems to be one for {preset}, and this build computes on the CPU only"
    return Finding(topic="GPU", status="warn", text=text, remedy=f"ggufvlm doctor --build {preset} --run")


def _cpu(features: dict[str, str]) -> Iterator[Finding]:
    from ggufvlm.hardware.cpu import allowed_processors, cpu_flags, default_threads, missed_features
    from ggufvlm.hardware.system import cpu_quota

    used = ", ".join(name for name, value in features.items() if value != "0") or "not told"
    missed = missed_features(features, cpu_flags())
    if features and missed:
        text = f"uses {used}; does not use {', '.join(missed)}"
        yield Finding(topic="CPU features", status="warn", text=text, remedy="ggufvlm doctor --build cpu --run")
    else:
        yield Finding(topic="CPU features", status="ok", text=f"uses {used}")
    quota = cpu_quota()
    limit = f", limited to {quota:g} CPUs by a control group" if quota is not None else ""
    text = f"{default_threads()} of {len(allowed_processors())} processors{limit}"
    yield Finding(topic="threads", status="ok", text=text)


def _memory() -> Iterator[Finding]:
    from ggufvlm.hardware.system import available_memory, memory_limits

    limits, available = memory_limits(), available_memory()
    total = f" of {_gb(limits.total)}" if limits.total else ""
    swap = f", swap included: {_gb(limits.swap_free)}" if limits.swap_free else ""
    if available is None:
        yield Finding(topic="memory", status="warn", text="this system does not tell how much is free")
    elif available < _ENOUGH_MEMORY:
        remedy = "a small model: ggufvlm list"
        yield Finding(topic="memory", status="warn", text=f"{_gb(available)} free{total}{swap}", remedy=remedy)
    else:
        yield Finding(topic="memory", status="ok", text=f"{_gb(available)} free{total}{swap}")
    if limits.cgroup_limit is not None:
        left = f", {_gb(limits.cgroup_available)} of it left" if limits.cgroup_available is not None else ""
        yield Finding(topic="control group", status="ok", text=f"memory limited to {_gb(limits.cgroup_limit)}{left}")


# -- models


def _cache() -> Finding:
    from ggufvlm.models.hub.cache import cache_folder, cached_repos

    folder = cache_folder()
    repos = list(cached_repos())
    # snapshots link to blobs: only these take room, or, where the system has no links, the snapshots themselves
    size = sum(_size(path / "blobs") or _size(path / "snapshots") for path in folder.glob("models--*"))
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    models = "1 model repository" if len(repos) == 1 else f"{len(repos)} model repositories"
    text = f"{folder}: {models}, {_gb(size)}; {_gb(free)} free on this disk"
    if not os.access(place, os.W_OK):
        remedy = "HF_HOME=FOLDER puts it elsewhere"
        return Finding(topic="Hub cache", status="warn", text=f"{folder} is not writable", remedy=remedy)
    if free < _ENOUGH_DISK:
        return Finding(topic="Hub cache", status="warn", text=text, remedy="HF_HOME=FOLDER, or ggufvlm rm MODEL")
    return Finding(topic="Hub cache", status="ok", text=text)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _config() -> Finding:
    from ggufvlm.models.registry import config_dir

    folder = config_dir()
    files = [name for name in ("config.toml", "models.toml") if (folder / name).is_file()]
    return Finding(topic="settings", status="ok", text=f"{folder}: {' and '.join(files) or 'none, and none needed'}")


def _default_model() -> Finding:
    from ggufvlm.models.hub.cache import locate
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import default_model

    try:
        name = default_model()
        path = expanded(name)
        if path.is_file():
            return Finding(topic="default model", status="ok", text=str(path))
        registry = load_registry()
        plain, quant = registry.split_quant(name)
        spec = registry.find(plain)
        files = (spec.model_file(quant), spec.projector())
    except GGUFVLMError as error:
        return Finding(topic="default model", status="warn", text=str(error), remedy=error.hint)
    if spec.builtin or all(locate(file) for file in files):
        return Finding(topic="default model", status="ok", text=f"{name}, on this machine")
    sizes = [file.size for file in files]
    size = f" ({_gb(sum(n for n in sizes if n is not None))})" if None not in sizes else ""
    text = f"{name}, not on this machine yet{size}; `ggufvlm demo` needs none"
    return Finding(topic="default model", status="warn", text=text, remedy=f"ggufvlm pull {name}")


def _hub(*, offline: bool) -> Finding:
    import httpx

    from ggufvlm.models.hub.client import is_offline

    endpoint = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    if offline or is_offline():
        why = "not asked" if offline else "not asked: HF_HUB_OFFLINE is set"
        return Finding(topic="Hub", status="ok", text=why)
    try:
        answer = httpx.head(endpoint, timeout=_HUB_TIMEOUT, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = str(error) or type(error).__name__
        remedy = "check the network, HTTPS_PROXY and HF_ENDPOINT; models already here run without it"
        return Finding(topic="Hub", status="warn", text=f"{endpoint} cannot be reached: {why}", remedy=remedy)
    if answer.status_code >= 500:
        text = f"{endpoint} answers {answer.status_code}"
        return Finding(topic="Hub", status="warn", text=text, remedy="try again later")
    return Finding(topic="Hub", status="ok", text=f"{endpoint} can be reached")


# -- packages


def _extras() -> Iterator[Finding]:
    """Optional features of this package: which of their packages are there."""
    for extra, requirements in sorted(extras().items()):
        if extra in _NO_EXTRAS:
            continue
        missing = missing_packages(requirements)
        if missing:
            # an optional feature that nobody asked for is nothing to warn of
            text, remedy = f"not installed: {', '.join(missing)}", extra_command(extra)
            yield Finding(topic=f"extra {extra}", status="ok", text=text, remedy=remedy)
        else:
            yield Finding(topic=f"extra {extra}", status="ok", text="installed")


def _gb(n: Any) -> str:
    return f"{n / 1e9:.1f} GB"
