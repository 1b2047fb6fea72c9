"""``ggufvlm batch --dry-run``: what a run would take, in a few lines on stdout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ggufvlm.cli.batch.progress import duration

if TYPE_CHECKING:
    from ggufvlm.batch.inputs.arguments import Inputs
    from ggufvlm.batch.item import Item
    from ggufvlm.batch.run.preflight import Preflight
    from ggufvlm.batch.run.run import RowTask
    from ggufvlm.batch.run.session import EngineSettings


def show_preflight(given: Inputs, task: RowTask, engine: EngineSettings, out: Path | None) -> None:
    """Look at all inputs and say what was found.

    Raises:
        ModelError, PairingError: the model's files are damaged or no pair.
    """
    from ggufvlm.batch.run.preflight import preflight
    from ggufvlm.cli.terminal.console import columns
    from ggufvlm.hardware.system import available_memory

    found = preflight(given, task.template, engine, free=available_memory(), is_done=_done_before(task, engine, out))
    done = f", {found.n_done} answered before" if found.n_done else ""
    lines = [("model", engine.files.name), ("inputs", f"{found.count}, of them {found.n_unreadable} unreadable{done}")]
    if found.sizes:
        lines.append(("sizes", _sizes(found)))
    lines.append(("tokens", _tokens(found, engine)))
    lines.append(("context", f"{found.limit} tokens at most; {found.n_too_large} images exceed it"))
    lines.append(("memory", f"{found.memory / 2**20:.0f} MiB with {engine.config.n_slots} slots, about"))
    lines.append(("time", _time(found, out)))
    lines += [("unreadable", f"{name}: {text}" if name not in text else text) for name, text in found.unreadable]
    lines += [("too large", name) for name in found.too_large]
    lines += [("advice", text) for text in found.advice]
    typer.echo(columns(lines))


def _done_before(task: RowTask, engine: EngineSettings, out: Path | None) -> Callable[[Item], bool]:
    from ggufvlm.batch.journal.identity import identify
    from ggufvlm.batch.journal.readonly_journal import OldRows
    from ggufvlm.batch.outputs.writers import journal_path
    from ggufvlm.batch.run.prefetch import Looker

    journal = journal_path(out) if out is not None else None
    if journal is None or not journal.is_file():
        return lambda _item: False
    identity = identify(
        engine.files, engine.config, engine.sampling, prefill=task.prefill, raw=engine.raw, examples=engine.examples
    )
    return Looker(template=task.template, system=task.system, identity=identity, journal=OldRows(journal)).is_done


def _sizes(found: Preflight) -> str:
    by_area = sorted(found.sizes.elements(), key=lambda size: size[0] * size[1])
    shown = [by_area[0], by_area[len(by_area) // 2], by_area[-1]]
    return "smallest {}x{}, median {}x{}, largest {}x{} pixels".format(*(side for size in shown for side in size))


def _tokens(found: Preflight, engine: EngineSettings) -> str:
    answer = engine.sampling.max_tokens
    longest = "as long as the context allows" if answer < 0 else f"at most {answer}"
    asked = f"about {found.prompt_tokens} of the prompt each; answers {longest} each"
    if found.image_tokens is None:
        return f"of images: only the loaded model can tell ({found.projector_type}); {asked}"
    return f"{found.image_tokens} of images, the largest {found.largest}; {asked}"


def _time(found: Preflight, out: Path | None) -> str:
    """From the rows that are there: nothing else knows this machine."""
    from ggufvlm.batch.run.preflight import seconds_per_row

    each = seconds_per_row(out) if out is not None else None
    if each is None:
        return "not known before some rows are made: run, look, interrupt; it goes on from there"
    remaining = found.count - found.n_done - found.n_unreadable
    return f"at most {duration(each * remaining)}: {each:.2f} s each so far, one after another"
