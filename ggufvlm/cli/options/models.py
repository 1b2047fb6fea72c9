"""Arguments and options of the commands about models on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from ggufvlm.cli.options.shared import ASSUME_YES
from ggufvlm.cli.usage.complete import model_names

YesOption = Annotated[
    bool, typer.Option("-y", "--yes", help="Do not ask.", envvar=ASSUME_YES, show_envvar=True, show_default=False)
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel="Output", help="JSON, sizes in bytes.", show_default=False)
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=model_names,
        help="A name such as qwen2-vl-2b or qwen2-vl-2b:Q8_0, or USER/REPO[:QUANT] at the Hub.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DebugOptions:
    """What every command understands; ``main`` looks at it."""

    panel: ClassVar[str] = "Output"

    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks of errors.", show_default=False)] = False


@dataclass(frozen=True, kw_only=True)
class PlainOptions(DebugOptions):
    """The same for commands that have progress or notes to show."""

    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.", show_default=False)] = False
