"""An image of a report: speeds as bars, ratios beside them. The only importer of matplotlib, an optional package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.errors import MissingExtra, UsageError
from ggufvlm.tools.bench.results import Measurement, number

if TYPE_CHECKING:
    from ggufvlm.tools.bench.suite import Report

ENDINGS = (".png", ".svg")


def check_target(target: Path) -> None:
    """Find out before minutes are spent whether a plot can be written.

    Raises:
        MissingExtra: matplotlib is not installed.
        UsageError: another ending, or no such folder.
    """
    if target.suffix.lower() not in ENDINGS:
        raise UsageError(f"{target}: a plot ends with {' or '.join(ENDINGS)}", hint="--plot - draws in the terminal")
    if not target.resolve().parent.is_dir():
        raise UsageError(f"{target}: no such folder")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("--plot FILE", "plot")


def save_plot(report: Report, target: Path) -> None:
    """Write the plot: one panel for each unit that has results.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    panels = by_unit(report.results)
    figure = Figure(figsize=(9, 1.2 + 0.32 * sum(len(panel) + 2 for panel in panels.values())), layout="constrained")
    figure.suptitle(f"{report.model['name']} on {report.machine['cpu']}, {report.settings['n_threads']} threads")
    heights = [len(panel) + 1 for panel in panels.values()]
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axes, (unit, panel) in zip(grid[:, 0], panels.items(), strict=True):
        _draw(axes, unit, panel)
    try:
        figure.savefig(target, dpi=150)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror or error})") from error


def by_unit(results: list[Measurement]) -> dict[str, list[Measurement]]:
    """Results that can share an axis, in their order; reading is so much faster than writing that it has its own."""
    panels: dict[str, list[Measurement]] = {}
    for result in results:
        panels.setdefault("tokens/s read" if result.name == "prefill" else result.unit, []).append(result)
    return panels


def _draw(axes: Any, unit: str, results: list[Measurement]) -> None:
    """Bars from top to bottom: the median, and a whisker from the least to the most."""
    names = [result.name.replace("_", " ") for result in results]
    medians = [result.median for result in results]
    whiskers = [
        [result.median - result.min for result in results],
        [result.max - result.median for result in results],
    ]
    bars = axes.barh(names, medians, xerr=whiskers, color="#4878a8", ecolor="#333333", capsize=3)
    axes.bar_label(bars, list(map(number, medians)), padding=4, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
