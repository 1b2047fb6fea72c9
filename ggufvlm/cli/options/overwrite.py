"""``--overwrite``: what a command did not write stays, unless somebody says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from ggufvlm.cache.written import not_ours
from ggufvlm.cli.options.shared import option
from ggufvlm.cli.terminal.asking import confirm, has_terminal
from ggufvlm.errors import UsageError
from ggufvlm.files import check_output

HELP = "Replace files that are there and that ggufvlm did not write."
OverwriteOption: TypeAlias = Annotated[bool, option("--overwrite", help=HELP)]


def check_outputs(outputs: Sequence[Path], inputs: Iterable[object], *, overwrites: bool) -> None:
    """Make sure, before anything is computed, that nothing is lost that somebody may want to keep.

    An earlier output that nobody has changed is replaced without a word.

    Args:
        outputs: what will be written.
        inputs: what is read; ``@FILE`` is the file.
        overwrites: whether ``--overwrite`` was given.

    Raises:
        UsageError: an output is an input or no regular file; or it is not one of ours, and nobody who could be asked
            says that it may be replaced.
    """
    read = [source.removeprefix("@") if isinstance(source, str) else source for source in inputs]
    for path in outputs:
        check_output(path, read)
    if len(set(outputs)) < len(outputs):
        raise UsageError(f"{max(outputs, key=outputs.count)}: two outputs would go there", hint="name another one")
    foreign = [] if overwrites else not_ours(outputs)
    if not foreign:
        return
    others = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    name = f"{foreign[0]}{others}"
    if not has_terminal():
        hint = "--overwrite replaces what is there; or name another output"
        raise UsageError(f"{name}: there already, and not as ggufvlm wrote it", hint=hint)
    if not confirm(f"{name}: there already, and not as ggufvlm wrote it. Replace it?"):
        raise UsageError(f"{foreign[0]} stays as it is", hint="name another output")
