"""``ggufvlm use [MODEL]``: the model that is asked where none is named."""

from __future__ import annotations

from typing import Annotated

import typer

from ggufvlm.cli.options.models import PlainOptions
from ggufvlm.cli.options.shared import grouped
from ggufvlm.cli.terminal.console import print_plainly, say
from ggufvlm.cli.usage.complete import model_names
from ggufvlm.errors import UsageError


@grouped
def use(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            autocompletion=model_names,
            help="A name, USER/REPO[:QUANT], FILE.gguf or a folder. [shows the one in use]",
            show_default=False,
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Take the name out: what comes with ggufvlm holds again.")
    ] = False,
    *,
    plain: PlainOptions,
) -> None:
    """Show or set the model that is asked where none is named.

    ggufvlm use

    ggufvlm use qwen3-vl-4b

    The name is kept as `model` in config.toml; GGUFVLM_MODEL and -m come before it. Nothing is downloaded.
    """
    from ggufvlm.models.resolve import MODEL_VARIABLE, find_default
    from ggufvlm.models.user_config import configure_model

    if model is not None and reset:
        raise UsageError("a model and --reset: one of them")
    if model is not None or reset:
        configure_model(_checked(model) if model is not None else None)
    default = find_default()
    print_plainly(default.name)
    if plain.quiet:
        return
    say(f"asked where no model is named: says {default.source or 'ggufvlm itself'}")
    if default.source == MODEL_VARIABLE and (model is not None or reset):
        say(f"note: {MODEL_VARIABLE} comes before what was written now")
    if not _is_here(default.name):
        say(f"not on this machine yet: ggufvlm pull {default.name}, or the first question, downloads it")


def _checked(name: str) -> str:
    """The name as it is kept: one of a file holds in every folder.

    Raises:
        ModelError: no such model or file.
    """
    from ggufvlm.files import expanded
    from ggufvlm.models.registry import load_registry
    from ggufvlm.models.resolve import find_model, is_path, parse_name

    if is_path(name):
        find_model(name, fetch=None)
        return str(expanded(name).resolve())
    return parse_name(name, load_registry()).name


def _is_here(name: str) -> bool:
    from ggufvlm.errors import ModelError
    from ggufvlm.models.resolve import find_model

    try:
        find_model(name, fetch=None)
    except ModelError:
        return False
    return True
