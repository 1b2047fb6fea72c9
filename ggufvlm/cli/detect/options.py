"""The options of ``ggufvlm detect``, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar

from ggufvlm.cli.options.overwrite import OverwriteOption
from ggufvlm.cli.options.shared import OutputOptions, Switch, option
from ggufvlm.errors import UsageError


class Format(str, Enum):
    """How boxes are written."""

    TABLE = "table"
    JSON = "json"
    COCO = "coco"
    YOLO = "yolo"
    LABELME = "labelme"


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is looked for, and how it is asked for."""

    panel: ClassVar[str] = "Question"

    labels: Annotated[
        str | None,
        option("-l", "--labels", help="More labels: a,b,c, or @FILE with one a line.", metavar="A,B,..|@FILE"),
    ] = None
    points: Annotated[bool, option("--points", help="Points in place of boxes, where the family has them.")] = False
    convention: Annotated[
        str | None,
        option("--convention", help="How a fine-tune of yours writes boxes, such as qwen3_rel1000.", metavar="NAME"),
    ] = None
    prompt: Annotated[
        str | None,
        option("-p", "--prompt", help="Your own question; {label} stands for the labels.", metavar="TEXT|@FILE"),
    ] = None
    system: Annotated[str | None, option("-s", "--system", help="System message, or @FILE.", metavar="TEXT|@FILE")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What becomes of the boxes."""

    panel: ClassVar[str] = "Output"

    format: Annotated[Format | None, option("-f", "--format", help="How boxes are written. [table]")] = None
    out: Annotated[
        Path | None,
        option("-o", "--output", help="Write to this file, or folder (yolo, labelme).", metavar="FILE|DIR"),
    ] = None
    save: Annotated[
        Path | None,
        option("--save", help="Draw boxes into a copy of the image, or copies in a folder.", metavar="FILE|DIR"),
    ] = None
    json: Annotated[bool, option("--json", help="The same as --format json: an object an image.")] = False
    overwrite: OverwriteOption = False
    stats: Annotated[bool, option("--stats", help="What the model saw, token counts and times, on stderr.")] = False
    quiet: Annotated[bool, option("-q", "--quiet", help="No progress and no warnings.")] = False
    debug: Annotated[bool, option("--debug", help="llama.cpp's messages, and tracebacks of errors.")] = False
    color: Annotated[Switch, option("--color", help="Colours and a drawn table. [auto]")] = Switch.AUTO

    def chosen_format(self) -> Format:
        """The format that is meant.

        Raises:
            UsageError: two are.
        """
        if self.json and self.format not in (None, Format.JSON):
            raise UsageError(f"--json and --format {self.format.value if self.format else ''}: one of them")
        return Format.JSON if self.json else self.format or Format.TABLE

    def output(self) -> OutputOptions:
        """As other commands have it."""
        return OutputOptions(json=self.json, stats=self.stats, quiet=self.quiet, debug=self.debug, color=self.color)
