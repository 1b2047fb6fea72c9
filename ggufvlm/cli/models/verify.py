"""``ggufvlm verify MODEL``: are the bytes on disk the ones that were published?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ggufvlm.cli.models.transfer import Bar
from ggufvlm.cli.options.models import ModelArgument, PlainOptions
from ggufvlm.cli.options.shared import grouped
from ggufvlm.cli.terminal.console import say

if TYPE_CHECKING:
    from pathlib import Path

    from ggufvlm.models.inventory import FileVerdict


@grouped
def verify(
    model: ModelArgument,
    mend: Annotated[bool, typer.Option("--repair", help="Fetch damaged files anew.", show_default=False)] = False,
    *,
    plain: PlainOptions,
) -> None:
    """Read every byte of a model on this machine and compare checksums.

    ggufvlm verify qwen2-vl-2b

    ggufvlm verify qwen2-vl-2b --repair

    Then both headers are compared, as before a download.
    """
    from ggufvlm.errors import ModelError
    from ggufvlm.models.inventory import files_of, verify
    from ggufvlm.models.pairing import check_pair
    from ggufvlm.models.resolve import find_model

    files = find_model(model, fetch=None)
    with Bar(sum(path.stat().st_size for path in files_of(files)), enabled=not plain.quiet) as bar:
        verdicts = list(verify(files, bar.add))
    for verdict in verdicts:
        typer.echo(f"{_word(verdict):<9}  {verdict.path.name}")
    damaged = [verdict.path for verdict in verdicts if verdict.damaged]
    if damaged and not mend:
        names = " and ".join(path.name for path in damaged)
        raise ModelError(f"damaged: {names}", hint=f"ggufvlm verify {model} --repair")
    for path in damaged:
        _fetch_anew(path, plain)
    report = check_pair(files.model, files.mmproj, allow_untyped=True)
    if not plain.quiet:
        say(f"{files.name}: {report.architecture} with {report.projector_type}: model and projector fit each other")


def _word(verdict: FileVerdict) -> str:
    if verdict.expected is None:
        return "unchecked"
    return "damaged" if verdict.damaged else "ok"


def _fetch_anew(path: Path, plain: PlainOptions) -> None:
    from ggufvlm.models.inventory import repair

    with Bar(path.stat().st_size, enabled=not plain.quiet) as bar:
        repair(path, bar.add)
    if not plain.quiet:
        say(f"{path.name}: fetched anew")
