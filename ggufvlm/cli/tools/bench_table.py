"""A report of ``ggufvlm bench`` for people: tables, and bars drawn with Rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggufvlm.cli.terminal.console import columns
from ggufvlm.models.hub.transfer import size_text
from ggufvlm.tools.bench.results import kind_of, number

if TYPE_CHECKING:
    from rich.console import Console

    from ggufvlm.tools.bench.results import Measurement, Ratio
    from ggufvlm.tools.bench.suite import Report

_TEXTS = {
    "encode_image": "encode an image",
    "encode_1000_patches": "encode 1,000 patches",
    "prefill": "prefill",
    "decode_N": "decode, {} at a time",
    "llama_decode_N": "  llama.cpp alone",
    "overhead_N": "  our overhead",
    "first_token_cold": "first token, cold process",
    "first_token_warm": "first token, same process",
    "first_token_disk": "first token, from disk",
    "batch": "batch, 4 slots",
    "memory_peak": "memory at most",
    "bandwidth": "memory gives",
    "arithmetic": "cores give (float32)",
    "decode_of_bandwidth": "decode uses of memory",
    "encode_of_arithmetic": "encode uses of cores",
}


def text_of(result: Measurement) -> str:
    """A result's name as people say it."""
    return _TEXTS[kind_of(result.name)].format(result.name.rpartition("_")[2])


def heading(report: Report) -> list[str]:
    """What was measured, and on what."""
    machine, model, image = report.machine, report.model, report.model["picture"]
    threads = report.settings["n_threads"]
    sizes = ", ".join(f"{model[file]['file']} {size_text(model[file]['bytes'])}" for file in ("model", "mmproj"))
    seen = f"{image['width']}x{image['height']}, {image['n_patches']} patches, {image['n_tokens']} tokens"
    lines = [
        f"machine  {machine['cpu']}, {machine['cores']} cores, {threads} threads",
        f"library  llama-cpp-python {machine['llama_cpp_python']}, ggml {machine['ggml'] or '?'}",
        f"model    {model['name']}: {sizes}",
        f"image    {seen}",
    ]
    load = machine["load"]
    if load is not None and load > 0.5:
        lines.append(f"note     {load:.1f} other processes were running: the numbers may be too low")
    return lines


def results_table(results: list[Measurement]) -> str:
    """All results with their spread."""
    rows = [("", "MEDIAN", "MIN", "MAX", "")]
    rows += [(text_of(r), number(r.median), number(r.min), number(r.max), r.unit) for r in results]
    return columns(rows, right=(1, 2, 3))


def ratios_table(ratios: list[Ratio]) -> str:
    """Ours against theirs."""
    rows = [("", "AGAINST", "OURS", "THEIRS", "", "RATIO", "MIN", "MAX")]
    for r in ratios:
        spread = (f"{r.ratio:.2f}", f"{r.min:.2f}", f"{r.max:.2f}")
        rows.append((r.name.replace("_", " "), r.against, number(r.ours), number(r.theirs), r.unit, *spread))
    return columns(rows, right=(2, 3, 5, 6, 7))


def draw_chart(report: Report, console: Console) -> None:
    """Bars for results that have a unit in common with others; a lone one is read better than seen."""
    from rich.bar import Bar
    from rich.table import Table

    from ggufvlm.tools.bench.plot import by_unit

    for unit, panel in by_unit(report.results).items():
        top = max(result.median for result in panel)
        if len(panel) < 2 or unit == "%" or top <= 0:
            continue
        table = Table.grid(padding=(0, 1), expand=False)
        table.add_column(no_wrap=True)
        table.add_column(width=max(10, min(40, console.width - 50)))
        table.add_column(justify="right", no_wrap=True)
        for result in panel:
            table.add_row(
                text_of(result), Bar(top, 0, max(0.0, result.median), color="cyan"), f"{number(result.median)} {unit}"
            )
        console.print()
        console.print(table)
