"""Where the boxes of ``ggufvlm detect`` go: a table, lines, one file, a file an image."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ggufvlm.cache.written import remember
from ggufvlm.cli.detect.options import Format
from ggufvlm.cli.options.shared import OutputOptions
from ggufvlm.cli.terminal import console
from ggufvlm.errors import OutputError, UsageError
from ggufvlm.grounding.classes import Classes
from ggufvlm.grounding.names import check_stems, file_names, stem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ggufvlm.errors import GGUFVLMError
    from ggufvlm.grounding.detections import Detections

_SIDES = ("left", "top", "right", "bottom", "width", "height")
_FEWEST_COLUMNS = 12
"""Of a terminal for the names of objects."""
_WIDEST = 1000
_CLASSES = "classes.txt"


class BoxWriter(Protocol):
    """Takes the results in order; ``finish`` comes once, also after Ctrl-C.

    Attributes:
        outputs: the files that it writes.
    """

    outputs: list[Path]

    def add(self, index: int, found: Detections) -> None:
        """Take what was found in an image."""

    def skip(self, source: str, error: GGUFVLMError) -> None:
        """Take note of an image that could not be asked about; most formats have no place for that."""
        return

    def finish(self) -> None:
        """Write what could not be written before."""


def make_writer(
    kind: Format,
    out: Path | None,
    sources: Sequence[str],
    labels: Sequence[str],
    output: OutputOptions,
) -> BoxWriter:
    """The writer for a format; looks for trouble before anything is computed.

    Args:
        kind: the format.
        out: a file or folder; ``None`` for stdout.
        sources: the images.
        labels: what is looked for.
        output: how things are shown.

    Raises:
        UsageError: several images would go to one file, or a file is where a folder should be.
        OutputError: nothing can be written there.
    """
    if out is not None:
        check_place(out)
    if kind in (Format.TABLE, Format.JSON, Format.COCO):
        if out is not None and out.is_dir():
            raise UsageError(f"{out} is a folder", hint=f"-o {out / ('boxes.' + _ending(kind))}")
        if kind is Format.COCO:
            return _Coco(out, labels)
        return _Lines(_json_line if kind is Format.JSON else _tab_lines, kind, out, output)
    classes = Classes(labels)
    if out is None or (len(sources) == 1 and out.suffix == f".{_ending(kind)}"):
        if len(sources) > 1:
            raise UsageError(f"--format {kind.value} writes a file for each image", hint="-o FOLDER")
        return _OneFile(kind, out, classes)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder", hint=f"--format {kind.value} writes a file for each image")
    check_stems(sources, f"--format {kind.value}")
    return _Folder(kind, out, classes, sources)


def _ending(kind: Format) -> str:
    return {Format.TABLE: "tsv", Format.YOLO: "txt"}.get(kind, "json")


def _dump(data: Any, *, indents: bool | None = None) -> str:
    indents = sys.stdout.isatty() if indents is None else indents
    return json.dumps(data, ensure_ascii=False, indent=2 if indents else None) + "\n"


def _json_line(found: Detections) -> str:
    return json.dumps(found.to_dict(), ensure_ascii=False) + "\n"


def _tab_lines(found: Detections) -> str:
    rows = [(box.label, box.x0, box.y0, box.x1, box.y1) for box in found.boxes]
    rows += [(point.label, point.x, point.y, point.x, point.y) for point in found.points]
    return "".join(
        f"{label}\t{x0:.0f}\t{y0:.0f}\t{x1:.0f}\t{y1:.0f}\t{found.source}\n" for label, x0, y0, x1, y1 in rows
    )


class _Lines(BoxWriter):
    """Lines for each image as soon as it is known; a drawn table on a terminal."""

    def __init__(
        self, text: Callable[[Detections], str], kind: Format, out: Path | None, output: OutputOptions
    ) -> None:
        self.outputs = [] if out is None else [out]
        self._text, self._kind, self._out, self._output = text, kind, out, output
        self._draws = kind is Format.TABLE and out is None and console.can_draw(output)
        self._indents = kind is Format.JSON and out is None and sys.stdout.isatty()
        self._mode = "w"

    def add(self, _index: int, found: Detections) -> None:
        if self._draws:
            if found.boxes or found.points:
                draw_table(found, console.make_console(self._output))
        else:
            self._put(_dump(found.to_dict()) if self._indents else self._text(found))

    def skip(self, source: str, error: GGUFVLMError) -> None:
        if self._kind is Format.JSON:
            self._put(_dump({"source": source, "error": str(error)}, indents=self._indents))

    def _put(self, text: str) -> None:
        _write_or_print(self._out, text, mode=self._mode)
        self._mode = "a"

    def finish(self) -> None:
        if self._out is not None:
            write_text(self._out, "", mode=self._mode)
            remember(self._out)


class _Coco(BoxWriter):
    """One document when all is known."""

    def __init__(self, out: Path | None, labels: Sequence[str]) -> None:
        self.outputs = [] if out is None else [out]
        self._out, self._classes = out, Classes(labels)
        self._found: list[Detections] = []

    def add(self, _index: int, found: Detections) -> None:
        self._found.append(found)

    def finish(self) -> None:
        from ggufvlm.grounding.coco import coco

        _write_or_print(self._out, _dump(coco(self._found, self._classes)))
        if self._out is not None:
            remember(self._out)


def _content(kind: Format, found: Detections, classes: Classes, folder: Path | None) -> str:
    from ggufvlm.grounding.labelme import labelme
    from ggufvlm.grounding.yolo import yolo

    if kind is Format.YOLO:
        return yolo(found, classes)
    path = file_names([found.source])[0]
    if folder is not None and Path(found.source).exists():
        path = Path(os.path.relpath(found.source, folder)).as_posix()
    return json.dumps(labelme(found, path), ensure_ascii=False, indent=2) + "\n"


class _OneFile(BoxWriter):
    """The file of the only image."""

    def __init__(self, kind: Format, out: Path | None, classes: Classes) -> None:
        self.outputs = [] if out is None else [out]
        self._kind, self._out, self._classes = kind, out, classes

    def add(self, _index: int, found: Detections) -> None:
        folder = self._out.parent if self._out else None
        _write_or_print(self._out, _content(self._kind, found, self._classes, folder))
        if self._out is not None:
            remember(self._out)
        if self._kind is Format.YOLO:
            names = " ".join(f"{number}={name!r}" for number, name in enumerate(self._classes.names))
            console.say(f"classes: {names or 'none'}")

    def finish(self) -> None:
        """Nothing is left."""


class _Folder(BoxWriter):
    """A file for each image, and for YOLO the names of the classes."""

    def __init__(self, kind: Format, out: Path, classes: Classes, sources: Sequence[str]) -> None:
        self._kind, self._out, self._classes = kind, out, classes
        self._files = out / "labels" if kind is Format.YOLO else out
        self.outputs = [self._path(source, index) for index, source in enumerate(sources)]
        if kind is Format.YOLO:
            self.outputs.append(out / _CLASSES)

    def add(self, index: int, found: Detections) -> None:
        path = self._path(found.source, index)
        write_text(path, _content(self._kind, found, self._classes, self._files))
        remember(path)

    def _path(self, source: str, index: int) -> Path:
        return self._files / f"{stem(source, index)}.{_ending(self._kind)}"

    def finish(self) -> None:
        if self._kind is Format.YOLO:
            write_text(self._out / _CLASSES, "".join(f"{name}\n" for name in self._classes.names))
            remember(self._out / _CLASSES)


def _write_or_print(out: Path | None, text: str, mode: str = "w") -> None:
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_text(out, text, mode)


def check_place(path: Path) -> None:
    """Make sure, before anything is computed, that a file can be written there.

    Raises:
        OutputError: a file is where a folder should be, or there is no permission.
    """
    place = path if path.exists() else next((parent for parent in path.parents if parent.exists()), Path())
    if place != path and not place.is_dir():
        raise OutputError(f"{path}: cannot be written ({place} is no folder)")
    if not os.access(place, os.W_OK):
        raise OutputError(f"{path}: cannot be written (no permission for {place})")


def write_text(path: Path, text: str, mode: str = "w") -> None:
    """Write a file, and its folder if there is none.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def draw_table(found: Detections, console: Console) -> None:
    """Draw it, without width and height where they have no room; on the narrowest terminals as lines."""
    from rich.measure import Measurement
    from rich.text import Text

    unbounded = console.options.update(max_width=_WIDEST)
    for table in (_table(found, _SIDES), _table(found, _SIDES[:4])):
        if Measurement.get(console, unbounded, table).minimum <= console.width:
            console.print(table)
            return
    console.print(Text(f"{found.source}  {found.width}x{found.height}", style="dim"))
    for name, *numbers in _rows(found, 4):
        console.print(Text(f"{name}: {' '.join(numbers)}"))


def _table(found: Detections, sides: tuple[str, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{found.source}  {found.width}x{found.height}")
    table = Table(title=title, title_justify="left", title_style="dim")
    table.add_column("object", min_width=_FEWEST_COLUMNS)
    for side in sides if found.boxes else ("x", "y"):
        table.add_column(side, justify="right", no_wrap=True)
    for name, *numbers in _rows(found, len(sides)):
        table.add_row(Text(name), *numbers)
    return table


def _rows(found: Detections, n_numbers: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for box in found.boxes:
        numbers = (box.x0, box.y0, box.x1, box.y1, box.width, box.height)[:n_numbers]
        rows.append((box.label, *(f"{number:.0f}" for number in numbers)))
    return rows + [(point.label, f"{point.x:.0f}", f"{point.y:.0f}") for point in found.points]
