"""``ggufvlm list``: the models on this machine, and those there are."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ggufvlm.cli.options.models import JsonOption, PlainOptions
from ggufvlm.cli.options.shared import grouped
from ggufvlm.cli.terminal.console import columns

if TYPE_CHECKING:
    from ggufvlm.models.inventory import InstalledModel
    from ggufvlm.models.schema import ModelSpec


@grouped
def list_models(
    everything: Annotated[
        bool, typer.Option("-a", "--all", help="Also the models that can be downloaded.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
    *,
    plain: PlainOptions,
) -> None:
    """List the models on this machine.

    ggufvlm list

    ggufvlm list --all

    These are the built-in one and those in the Hub cache, also if other tools have put them there.
    """
    from ggufvlm.models.inventory import inventory
    from ggufvlm.models.registry import load_registry

    registry = load_registry()
    here = inventory(registry)
    rows = [_row(installed) for installed in here]
    if everything:
        known = {installed.name for installed in here}
        rows += [_offer(spec) for spec in registry if spec.id not in known]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    typer.echo(_fitted(_table(rows)))
    if not everything and len(rows) == 1 and not plain.quiet:
        typer.echo("`ggufvlm list --all` shows the models that can be downloaded", err=True)


def _row(installed: InstalledModel) -> dict[str, Any]:
    spec = installed.spec
    return {
        "name": installed.name,
        "state": "builtin" if installed.repo is None else "ready" if installed.fraction == 1.0 else "incomplete",
        "share": installed.fraction,
        "quant": installed.quant,
        "size": installed.size,
        "repo": installed.repo,
        "revision": installed.commit,
        "files": [str(path) for path in installed.paths],
        "license": spec.license if spec else None,
        "summary": spec.summary if spec else "",
    }


def _offer(spec: ModelSpec) -> dict[str, Any]:
    from ggufvlm.models.resolve import from_registry

    selection = from_registry(spec)
    sizes = [selection.model.size, selection.projectors[0].size]
    return {
        "name": spec.id,
        "state": "available",
        "share": 0.0,
        "quant": selection.model.quant,
        "size": sum(size for size in sizes if size) if all(sizes) else None,
        "repo": selection.model.repo,
        "revision": selection.model.revision,
        "files": [],
        "license": spec.license,
        "summary": spec.summary,
    }


def _fitted(table: str) -> str:
    """Lines cut to the width of a terminal; whole in a pipe."""
    if not sys.stdout.isatty():
        return table
    width = shutil.get_terminal_size().columns
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in table.splitlines())


def _table(rows: list[dict[str, Any]]) -> str:
    from ggufvlm.models.hub.transfer import size_text

    def state(row: dict[str, Any]) -> str:
        if row["state"] != "incomplete" or row["share"] is None:
            return str(row["state"])
        return f"{row['share']:.0%} here"

    lines = [("NAME", "QUANT", "SIZE", "STATE", "SUMMARY")]
    for row in rows:
        size = size_text(row["size"]) if row["size"] is not None else "?"
        lines.append((row["name"], row["quant"], size, state(row), row["summary"]))
    return columns(lines, right=(2,))
