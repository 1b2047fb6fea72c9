"""Ours against llama.cpp's own programs and llama-cpp-python's own handler, case by case, side by side.

::

    python -m tests.benchmarks.against MODEL MMPROJ IMAGE BINARY_DIR [--rows cold,warm] [--repeat 5] [--images 24]

BINARY_DIR holds llama-mtmd-cli, llama-bench and llama-server. Every pair of runs is alternate; a ratio is the median of
ours / theirs pair by pair, less is better. Nothing else should run meanwhile. Our caches are where GGUFVLM_CACHE_DIR
says. Prints a Markdown table; --json writes the ratios to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# read once, when OpenMP is loaded; the programs that are started get it too
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from ggufvlm.config import EngineConfig
from ggufvlm.errors import GGUFVLMError
from ggufvlm.media import load
from ggufvlm.models.resolve import find_model
from ggufvlm.tools.bench.against import at_seen_size
from ggufvlm.tools.bench.job import make_job
from ggufvlm.tools.bench.machine import describe_machine
from ggufvlm.tools.bench.results import Ratio
from tests.benchmarks.crowds import eight, many, overhead, pause
from tests.benchmarks.setting import Row, Setting
from tests.benchmarks.soak import soak
from tests.benchmarks.turns import cold, restore, second_turn, warm

ROWS: dict[str, Row] = {
    "cold": cold,
    "warm": warm,
    "restore": restore,
    "second-turn": second_turn,
    "eight": eight,
    "many": many,
    "overhead": overhead,
    "pause": pause,
    "soak": soak,
}


def markdown(ratios: list[Ratio]) -> str:
    lines = ["| case | against | ours | theirs | ratio (min to max of n) |", "|---|---|---|---|---|"]
    for r in ratios:
        spread = f"{r.ratio:.3g} ({r.min:.3g} to {r.max:.3g} of {r.n})"
        lines.append(f"| {r.name} | {r.against} | {r.ours:.3g} {r.unit} | {r.theirs:.3g} {r.unit} | {spread} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("mmproj", type=Path)
    parser.add_argument("image")
    parser.add_argument("binaries", type=Path, metavar="BINARY_DIR")
    parser.add_argument("--rows", default=",".join(ROWS), help="with commas: %(default)s")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="length of an answer where no row sets its own")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--loop", type=int, default=3, help="images that the shell loop is measured with")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    asked.rows = [row.strip() for row in asked.rows.split(",")]
    unknown = set(asked.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    return asked


def main() -> None:
    asked = parse()
    config = EngineConfig(n_threads=asked.threads)
    files = find_model(asked.model, asked.mmproj, fetch=None)
    job = make_job(files, config, load(asked.image), repeat=asked.repeat, n_tokens=asked.tokens)
    setting = Setting(job=at_seen_size(job), binaries=asked.binaries, n_images=asked.images, n_loop=asked.loop)
    machine, ratios = describe_machine(), list[Ratio]()
    for name in asked.rows:
        print(name, file=sys.stderr, flush=True)
        try:
            ratios += ROWS[name](setting)
        except GGUFVLMError as error:
            setting.note(f"{name}: left out: {error}")
    print(f"{machine['cpu']}, {job.n_threads} threads, load {machine['load']}, {files.name}\n")
    print(markdown(ratios))
    for note in setting.notes:
        print(f"\n{note}")
    if asked.json:
        report = {"machine": machine, "ratios": [ratio.to_dict() for ratio in ratios], "notes": setting.notes}
        asked.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
