"""``ggufvlm cache``: what earlier runs have left on disk, and how it goes away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.options.models import DebugOptions, JsonOption, PlainOptions, YesOption
from ggufvlm.cli.options.shared import ASSUME_YES, grouped
from ggufvlm.cli.terminal.asking import confirm, has_terminal
from ggufvlm.cli.terminal.console import columns, say
from ggufvlm.cli.usage.command import Command, Group

if TYPE_CHECKING:
    from ggufvlm.cache.limits import CachePart

app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)


def _part(name: str, help: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, help=help, show_default=False)
    return option


@app.callback(invoke_without_command=True)
@grouped
def cache(context: typer.Context, as_json: JsonOption = False, *, common: DebugOptions) -> None:
    """Show what earlier runs have kept on disk, and clear it.

    ggufvlm cache

    ggufvlm cache clear --snapshots

    Embeddings are what a projector made of an image, snapshots what a model has read: they spare computing them again.
    Projectors are corrected copies. All of it can be made again; nobody else may read it.

    GGUFVLM_CACHE_LIMIT is the most that embeddings and snapshots may take together: 500MB, 10GB; 0 keeps nothing.
    [6GB] A third is for embeddings, and neither gets more than a tenth of the free disk. What was not used for the
    longest time goes first. GGUFVLM_CACHE_DIR is the folder. --no-cache leaves one run without it.
    """
    if context.invoked_subcommand is not None:
        return
    from ggufvlm.cache.limits import measure

    parts = measure()
    if as_json:
        typer.echo(json.dumps([_as_dict(part) for part in parts], ensure_ascii=False, indent=2))
    else:
        typer.echo(_table(parts))


@app.command(cls=Command)
@grouped
def clear(
    embeddings: Annotated[bool, _part("--embeddings", "Only what projectors made of images.")] = False,
    snapshots: Annotated[bool, _part("--snapshots", "Only what models have read.")] = False,
    projectors: Annotated[
        bool, _part("--projectors", "Only projectors made from published ones: corrected, or in another type.")
    ] = False,
    yes: YesOption = False,
    *,
    plain: PlainOptions,
) -> None:
    """Clear the cache: all of it, or the parts named.

    ggufvlm cache clear

    ggufvlm cache clear --embeddings --yes

    Images and prompts are then computed anew, and projectors corrected anew.
    """
    from ggufvlm.cache.limits import clear as clear_parts
    from ggufvlm.cache.limits import measure
    from ggufvlm.errors import ExitCode, UsageError
    from ggufvlm.models.hub.transfer import size_text

    named = {"embeddings": embeddings, "snapshots": snapshots, "projectors": projectors}
    chosen = [part for part in measure() if named.get(part.name) or not any(named.values())]
    what = ", ".join(_counted(part) for part in chosen if part.count)
    size = sum(part.n_bytes for part in chosen)
    if not yes and what:
        if not has_terminal():
            hint = f"--yes, or {ASSUME_YES}=1"
            raise UsageError("cache clear asks first, and there is no terminal to ask on", hint=hint)
        if not confirm(f"remove {what} ({size_text(size)})?"):
            raise typer.Exit(ExitCode.FAILED)
    freed = clear_parts(part.name for part in chosen)
    if not plain.quiet:
        say(f"{what} removed: {size_text(freed)} are free again" if what else "there is nothing to remove")


def _counted(part: CachePart) -> str:
    return f"{part.count} {part.name if part.count != 1 else part.name.removesuffix('s')}"


def _as_dict(part: CachePart) -> dict[str, object]:
    return {
        "name": part.name,
        "count": part.count,
        "size": part.n_bytes,
        "limit": part.limit,
        "folder": str(part.folder),
    }


def _table(parts: list[CachePart]) -> str:
    from ggufvlm.models.hub.transfer import size_text

    lines = [("WHAT", "NUMBER", "SIZE", "LIMIT", "FOLDER")]
    for part in parts:
        limit = "" if part.limit is None else size_text(part.limit) if part.limit else "off"
        lines.append((part.name, str(part.count), size_text(part.n_bytes), limit, str(part.folder)))
    return columns(lines, right=(1, 2, 3))
