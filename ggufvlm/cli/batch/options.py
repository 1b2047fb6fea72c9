"""The options of ``ggufvlm batch``, in groups."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from ggufvlm.cli.options.documents import DocumentOptions
from ggufvlm.cli.options.shared import option
from ggufvlm.errors import UsageError

if TYPE_CHECKING:
    from ggufvlm.batch.inputs.expand import DocumentReading
    from ggufvlm.batch.outputs.embed import EmbedStyle
    from ggufvlm.batch.outputs.sidecar import SidecarStyle


class SidecarKind(str, Enum):
    """What stands beside an image."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class Existing(str, Enum):
    """What becomes of a sidecar that is there before."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    APPEND = "append"


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which inputs, and what is read from tables."""

    panel: ClassVar[str] = "Inputs"

    null: Annotated[bool, option("-0", "--null", help="Paths of stdin end with NUL: find -print0.")] = False
    include: Annotated[
        list[str] | None,
        option(
            "--include",
            help="Take only such files of folders: '*.jpg', 'shots/*'.",
            metavar="GLOB",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        option(
            "--exclude",
            help="Leave out such files and folders.",
            metavar="GLOB",
        ),
    ] = None
    image_column: Annotated[
        str | None,
        option(
            "--image-column",
            help="Column of a table with paths, URLs, bytes or base64.",
            metavar="NAME",
        ),
    ] = None
    prompt_column: Annotated[
        str | None,
        option(
            "--prompt-column",
            help="Column with prompts.",
            metavar="NAME",
        ),
    ] = None
    system_column: Annotated[
        str | None,
        option(
            "--system-column",
            help="Column with system messages.",
            metavar="NAME",
        ),
    ] = None
    id_column: Annotated[
        str | None,
        option(
            "--id-column",
            help="Column with ids.",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BatchDocumentOptions(DocumentOptions):
    """Which pages and frames, and how many rows they become."""

    whole: Annotated[
        bool,
        option(
            "--whole", help="One row for each PDF, TIFF and video, which sees as many pages or frames together as fit."
        ),
    ] = False

    def reading(self) -> DocumentReading:
        """How PDFs and videos are taken in.

        Raises:
            UsageError: the options make no sense.
        """
        from ggufvlm.batch.inputs.expand import DocumentReading

        return DocumentReading(selection=self.selection(), whole=self.whole)


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """Where the rows go."""

    panel: ClassVar[str] = "Output"

    out: Annotated[
        Path | None,
        option(
            "-o",
            "--output",
            help="Ends in .jsonl, .csv, .tsv or .parquet; what is in it is not asked again. - for stdout.",
            metavar="OUT",
        ),
    ] = None
    ordered: Annotated[bool, option("--ordered", help="At the end, put rows into the order of the inputs.")] = False
    restart: Annotated[bool, option("--restart", help="Begin anew; the old output is kept as .bak.")] = False
    sync_every: Annotated[
        float,
        option("--sync-every", help="Seconds after which rows are safe from a power cut. [5]", min=0.0, max=86_400.0),
    ] = 5.0
    csv_safe: Annotated[
        bool, option("--csv-safe", help="An apostrophe before texts of CSV that a spreadsheet would compute: = + - @.")
    ] = False
    columns: Annotated[
        str | None,
        option("--columns", help="Columns of CSV, TSV and Parquet. [all, answers first]", metavar="id,answer,..."),
    ] = None
    reasoning: Annotated[
        bool, option("--reasoning", help="A column of what the model thought before it answered (--think).")
    ] = False
    html: Annotated[Path | None, option("--html", help="Make a gallery page, too.", metavar="FILE")] = None
    json_progress: Annotated[bool, option("--json-progress", help="Progress as JSON lines on stderr.")] = False
    max_errors: Annotated[int | None, option("--max-errors", help="Stop after so many errors.", min=1)] = None


@dataclass(frozen=True, kw_only=True)
class SidecarOptions:
    """Answers beside their images."""

    panel: ClassVar[str] = "Sidecars and metadata"

    sidecar: Annotated[
        SidecarKind | None,
        option("--sidecar", help="Write photo.txt (the answer), photo.json (the row) or photo.xmp beside photo.jpg."),
    ] = None
    prefix: Annotated[
        str,
        option(
            "--prefix",
            help="Text before the answer in sidecars.",
            metavar="TEXT",
        ),
    ] = ""
    suffix: Annotated[
        str,
        option(
            "--suffix",
            help="Text behind the answer in sidecars.",
            metavar="TEXT",
        ),
    ] = ""
    trigger_word: Annotated[
        str,
        option(
            "--trigger-word",
            help="First word of sidecars, with a comma.",
            metavar="WORD",
        ),
    ] = ""
    sidecar_exists: Annotated[
        Existing | None, option("--sidecar-exists", help="What becomes of sidecars that are there. [overwrite]")
    ] = None

    def style(self, *, keywords: bool = False) -> SidecarStyle | None:
        """What they ask for; with ``keywords``, XMP files get these in place of a description.

        Raises:
            UsageError: something about sidecars, and none are wanted.
        """
        from ggufvlm.batch.outputs.sidecar import SidecarStyle

        if self.sidecar is None:
            given = [item.name for item in fields(self) if getattr(self, item.name)]
            if given:
                raise UsageError(f"--{given[0].replace('_', '-')} is about sidecars", hint="--sidecar txt writes them")
            return None
        return SidecarStyle(
            kind=self.sidecar.value,
            prefix=self.prefix,
            suffix=self.suffix,
            trigger_word=self.trigger_word,
            existing=(self.sidecar_exists or Existing.OVERWRITE).value,
            keywords=keywords,
        )


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """Answers into the image files."""

    panel: ClassVar[str] = "Sidecars and metadata"

    embed: Annotated[
        str | None,
        option(
            "--embed",
            help="Put answers into JPEG, PNG, WebP, TIFF files as description; pixels stay. Fields: xmp, exif, iptc.",
            metavar="xmp[,exif,iptc]",
        ),
    ] = None
    embed_to: Annotated[Path | None, option("--embed-to", help="Into copies in this folder.", metavar="DIR")] = None
    embed_in_place: Annotated[
        bool, option("--embed-in-place", help="Into the files themselves; photo.jpg.orig stays as it was.")
    ] = False

    keywords: Annotated[
        bool | None,
        option(
            "--keywords/--no-keywords",
            help="In XMP and IPTC, answers are keywords and no description. [with --preset tags]",
        ),
    ] = None

    def style(self, *, keywords: bool = False) -> EmbedStyle | None:
        """What they ask for; with ``keywords``, these in place of descriptions.

        Raises:
            UsageError: a field that does not exist, or not exactly one place for the files.
        """
        from ggufvlm.batch.outputs.embed import EmbedStyle
        from ggufvlm.media.metadata.write import Field

        if self.embed is None:
            if self.embed_to is not None or self.embed_in_place:
                raise UsageError("into which field of the files?", hint="--embed xmp, or xmp,exif,iptc for all readers")
            return None
        names = [name.strip().lower() for name in self.embed.split(",") if name.strip()]
        known = {field.value: field for field in Field}
        wrong = next((name for name in names if name not in known), None)
        if wrong is not None or not names:
            raise UsageError(f"--embed {self.embed}: not a field", hint=f"there are: {', '.join(known)}")
        if (self.embed_to is not None) == self.embed_in_place:
            hint = "--embed-to DIR makes copies; --embed-in-place keeps photo.jpg.orig"
            raise UsageError("--embed: into copies or in place?", hint=hint)
        chosen = dict.fromkeys(known[name] for name in names)
        if keywords:
            chosen.pop(Field.EXIF, None)
        if not chosen:
            raise UsageError("EXIF has no place for keywords", hint="--embed xmp,iptc, or --no-keywords")
        return EmbedStyle(fields=tuple(chosen), folder=self.embed_to, keywords=keywords)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the run goes."""

    panel: ClassVar[str] = "Run"

    slots: Annotated[int, option("--slots", help="Answers made at the same time. [4]", min=1)] = 4
    isolate: Annotated[
        bool | None,
        option("--isolate/--no-isolate", help="Engine in a process of its own, which may crash. [over 100 inputs]"),
    ] = None
    retries: Annotated[
        int,
        option(
            "--retries", help="Other temperatures to try for an answer that is a repetition loop. [2]", min=0, max=2
        ),
    ] = 2
    dry_run: Annotated[
        bool, option("--dry-run", help="Only look: how many, how large, how many tokens, what will not fit.")
    ] = False
