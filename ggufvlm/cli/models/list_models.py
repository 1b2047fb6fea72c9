"""``ggufvlm list``: the models on this machine, and those there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ggufvlm.cli.models import offers
from ggufvlm.cli.options.models import JsonOption, PlainOptions
from ggufvlm.cli.options.shared import grouped
from ggufvlm.cli.terminal.console import columns, print_plainly, say
from ggufvlm.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ggufvlm.models.inventory import InstalledModel
    from ggufvlm.models.registry import Registry
    from ggufvlm.models.schema import ModelSpec

_FITS = {True: "yes", False: "no", None: "?"}


@grouped
def list_models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD...]", help="Only models that have it in name, tags or summary.", show_default=False
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "-a", "--all", help="Also the models that can be downloaded, recommended ones first.", show_default=False
        ),
    ] = False,
    as_json: JsonOption = False,
    *,
    plain: PlainOptions,
) -> None:
    """List the models on this machine.

    ggufvlm list

    ggufvlm list --all qwen

    These are the built-in one and those in the Hub cache, also if other tools have put them there. FITS tells whether
    the memory of this machine holds a model with 8,192 tokens of context.
    """
    from ggufvlm.models.inventory import inventory
    from ggufvlm.models.registry import load_registry

    registry = load_registry()
    rows = [_row(installed, registry) for installed in inventory(registry)]
    if everything:
        known = {row["name"] for row in rows}
        rows += [_offer(spec, registry) for spec in registry if spec.id not in known]
        order = [spec.id for spec in registry.recommended]
        rows.sort(key=lambda row: order.index(row["name"]) if row["name"] in order else len(order))
    rows = [row for row in rows if _has_words(row, words or ())]
    if as_json:
        print_plainly(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if words and not rows:
        raise _no_match(" ".join(words), everything=everything)
    table = _table_of_all(rows) if everything else _table(rows)
    print_plainly(offers.shortened(table, kept=max(len(row["name"]) for row in rows)))
    if not everything and len(rows) == 1 and not plain.quiet:
        say("`ggufvlm list --all` shows the models that can be downloaded")


def _no_match(words: str, *, everything: bool) -> ModelError:
    if everything:
        return ModelError(f"no model has {words} in its name, tags or summary", hint="ggufvlm list --all")
    return ModelError(f"no model on this machine has {words} in its name", hint=f"ggufvlm list --all {words}")


def _has_words(row: dict[str, Any], words: Sequence[str]) -> bool:
    text = " ".join([row["name"], row["summary"], *row["tags"], row["repo"] or ""]).lower()
    return all(word.lower() in text for word in words)


def _row(installed: InstalledModel, registry: Registry) -> dict[str, Any]:
    return {
        "name": installed.name,
        "state": "builtin" if installed.repo is None else "ready" if installed.fraction == 1.0 else "incomplete",
        "share": installed.fraction,
        "quant": installed.quant,
        "size": installed.size,
        "repo": installed.repo,
        "revision": installed.commit,
        "files": [str(path) for path in installed.paths],
        **_facts(installed.spec, registry),
    }


def _offer(spec: ModelSpec, registry: Registry) -> dict[str, Any]:
    from ggufvlm.models.resolve import from_registry

    model = from_registry(spec).model
    return {
        "name": spec.id,
        "state": "available",
        "share": 0.0,
        "quant": model.quant,
        "size": offers.download_size(spec),
        "repo": model.repo,
        "revision": model.revision,
        "files": [],
        **_facts(spec, registry),
    }


def _facts(spec: ModelSpec | None, registry: Registry) -> dict[str, Any]:
    """What the registry knows of a model."""
    return {
        "license": spec.license if spec else None,
        "summary": spec.summary if spec else "",
        "tags": offers.tags(spec, registry) if spec else [],
        "fits": offers.fits(spec) if spec else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [("NAME", "QUANT", "SIZE", "STATE", "SUMMARY")]
    lines += [(row["name"], row["quant"], _size(row), _state(row), row["summary"]) for row in rows]
    return columns(lines, right=(2,))


def _table_of_all(rows: list[dict[str, Any]]) -> str:
    lines = [("NAME", "SIZE", "FITS", "STATE", "TAGS", "SUMMARY")]
    for row in rows:
        tags = " ".join("*" if tag == "recommended" else tag for tag in row["tags"])
        lines.append((row["name"], _size(row), _FITS[row["fits"]], _state(row), tags, row["summary"]))
    legend = "* recommended" if any("recommended" in row["tags"] for row in rows) else ""
    return f"{columns(lines, right=(1,))}\n{legend}".rstrip()


def _size(row: dict[str, Any]) -> str:
    from ggufvlm.models.hub.transfer import size_text

    return size_text(row["size"]) if row["size"] is not None else "?"


def _state(row: dict[str, Any]) -> str:
    if row["state"] != "incomplete" or row["share"] is None:
        return str(row["state"])
    return f"{row['share']:.0%} here"
