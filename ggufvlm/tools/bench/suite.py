"""All that is measured, in the order that disturbs it least."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ggufvlm.errors import UsageError
from ggufvlm.tools.bench.job import BenchJob, Measured, Say
from ggufvlm.tools.bench.results import Measurement, Ratio, sum_up
from ggufvlm.version import __version__
from ggufvlm.vlm.answer import SeenImage

SCHEMA = 1
GROUPS = ("encode", "prefill", "decode", "first-token", "batch", "memory", "roofline")


@dataclass(kw_only=True, slots=True)
class Report:
    """What was found; see :mod:`ggufvlm.tools.bench` for what it becomes as JSON."""

    machine: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    results: list[Measurement]
    ratios: list[Ratio] | None = None
    left_out: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        report = {
            "schema": SCHEMA,
            "ggufvlm": __version__,
            "machine": self.machine,
            "model": self.model,
            "settings": self.settings,
            "results": [result.to_dict() for result in self.results],
        }
        if self.ratios is not None:
            report["ratios"] = [ratio.to_dict() for ratio in self.ratios]
        return {**report, "left_out": self.left_out}

    def median(self, name: str) -> float | None:
        """The median of a result, if it was measured."""
        return next((result.median for result in self.results if result.name == name), None)


def parse_groups(text: str) -> tuple[str, ...]:
    """Groups out of ``encode,decode``, in their own order; all of them for an empty text.

    Raises:
        UsageError: one is unknown.
    """
    asked = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(asked - set(GROUPS))
    if unknown:
        raise UsageError(f"nothing to measure is called {unknown[0]!r}", hint=f"there are {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if not asked or group in asked)


def run_suite(job: BenchJob, groups: Collection[str], say: Say) -> Report:
    """Measure everything that was asked for. What that takes besides is reported too.

    Raises:
        GGUFVLMError: the model cannot run here.
    """
    from ggufvlm.tools.bench.in_process import look
    from ggufvlm.tools.bench.machine import describe_machine

    machine, values = describe_machine(), Measured()
    for measure in _measures(groups):
        values |= measure(job, say)
    say("looking at the files")
    model = _describe_model(job, look(job))
    if "roofline" in groups:
        values |= _shares(model, values)
    report = Report(machine=machine, model=model, settings=_settings(job, groups), results=sum_up(values))
    if "memory" in groups and not values["memory_peak"]:
        report.left_out.append("memory_peak: this system does not tell")
    return report


def _measures(groups: Collection[str]) -> Iterable[Callable[[BenchJob, Say], Measured]]:
    """Processes first: on Linux a child begins with its parent's peak of memory."""
    from ggufvlm.tools.bench import in_process as inside
    from ggufvlm.tools.bench import peaks, tokens
    from ggufvlm.tools.bench import subprocesses as outside

    if "first-token" in groups or "memory" in groups:
        yield outside.measure_cold
    if "first-token" in groups:
        yield outside.measure_disk
    if "roofline" in groups:
        yield peaks.measure_peaks
    if "first-token" in groups:
        yield inside.measure_warm
    if "encode" in groups or "roofline" in groups:
        yield inside.measure_encode
    if "prefill" in groups:
        yield tokens.measure_prefill
    if "decode" in groups or "roofline" in groups:
        yield partial(tokens.measure_decode, lanes=tokens.LANES if "decode" in groups else (1,))
    if "batch" in groups:
        yield inside.measure_batch


def _describe_model(job: BenchJob, seen: SeenImage) -> dict[str, Any]:
    from ggufvlm.tools.bench.roofline import decode_bytes, encode_flop

    files, n_patches = job.files, job.n_patches(seen)
    return {
        "name": files.name,
        "model": {"file": files.model.name, "bytes": files.model.stat().st_size},
        "mmproj": {"file": files.mmproj.name, "bytes": files.mmproj.stat().st_size},
        "decode_bytes": decode_bytes(files.model),
        "encode_flop": encode_flop(files.mmproj, n_patches, seen.n_tokens),
        "picture": {
            "width": seen.seen_width,
            "height": seen.seen_height,
            "n_patches": n_patches,
            "n_tokens": seen.n_tokens,
        },
    }


def _settings(job: BenchJob, groups: Collection[str]) -> dict[str, Any]:
    of_engine = asdict(job.config)
    for ours in ("n_slots", "priority", "use_cache"):  # each measurement has its own
        del of_engine[ours]
    counts = {"repeat": job.repeat, "n_tokens": job.n_tokens, "only": list(groups)}
    return {**of_engine, **counts, "n_threads": job.n_threads}


def _shares(model: Mapping[str, Any], values: Measured) -> Measured:
    """What part of the machine's speed was used: by each run, of the fastest that memory and cores showed."""
    gigabytes = model["decode_bytes"] / 1e9
    gigaflop = model["encode_flop"] / 1e9
    bandwidth, arithmetic = max(values["bandwidth"]), max(values["arithmetic"])
    return {
        "decode_of_bandwidth": [100 * speed * gigabytes / bandwidth for speed in values["decode_1"]],
        "encode_of_arithmetic": [100 * gigaflop / (ms / 1e3) / arithmetic for ms in values["encode_image"]],
    }
