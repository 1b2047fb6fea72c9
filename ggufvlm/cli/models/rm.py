"""``ggufvlm rm MODEL``: take a model out of the Hub cache."""

from __future__ import annotations

import typer

from ggufvlm.cli.options.models import ModelArgument, PlainOptions, YesOption
from ggufvlm.cli.options.shared import ASSUME_YES, grouped
from ggufvlm.cli.terminal.asking import confirm, has_terminal
from ggufvlm.cli.terminal.console import say


@grouped
def rm(model: ModelArgument, yes: YesOption = False, *, plain: PlainOptions) -> None:
    """Remove a model from this machine.

    ggufvlm rm qwen2-vl-2b

    ggufvlm rm qwen2-vl-2b:Q8_0 --yes

    With a quantization (NAME:QUANT) only that one goes; the projector stays as long as another one needs it. Other
    files in the same folder of the cache stay. What ggufvlm made from its projector goes with it.
    """
    from ggufvlm.errors import ExitCode, ModelError, UsageError
    from ggufvlm.models.hub.transfer import size_text
    from ggufvlm.models.inventory import plan_removal
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import is_path, parse_name
    from ggufvlm.projectors.files import derived_from

    if is_path(model):
        raise ModelError(f"{model} is a file of yours", hint="remove it as you remove other files")
    wanted = parse_name(model, load_registry())
    removal = plan_removal(wanted)
    if not yes and not has_terminal():
        raise UsageError("rm asks first, and there is no terminal to ask on", hint=f"--yes, or {ASSUME_YES}=1")
    if not yes or not plain.quiet:
        for name in sorted({path.name for path in (*removal.paths, *removal.partials)}):
            say(f"  {name}")
    if not yes and not confirm(f"remove {wanted.name} ({size_text(removal.size)})?"):
        raise typer.Exit(ExitCode.FAILED)
    derived = [made for path in removal.paths for made in derived_from(path)]
    freed = removal.run() + sum(made.stat().st_size for made in derived)
    for made in derived:
        made.unlink(missing_ok=True)
    if not plain.quiet:
        say(f"{wanted.name} removed: {size_text(freed)} are free again")
