"""Answers into the image files themselves: into copies, or in place with the original kept."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.batch.item import Item, leads_out, shown
from ggufvlm.batch.journal.durable_write import TargetError, as_output_error, as_target_error
from ggufvlm.batch.journal.rows import Row
from ggufvlm.batch.outputs.keywords import keywords_in
from ggufvlm.errors import ImageError
from ggufvlm.files import replacing_durably
from ggufvlm.media.metadata.block import Said, not_among
from ggufvlm.media.metadata.write import (
    Field,
    describe_file,
    description_of,
    fields_that_fit,
    is_same_image,
    keywords_of,
)

ORIGINAL = ".orig"
"""What is put behind the name of an image that is kept as it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedStyle:
    """Where answers are embedded.

    Attributes:
        fields: of the image files.
        folder: of the copies; ``None`` writes in place and keeps the originals beside.
        keywords: answers are lists, and become keywords in place of descriptions.
    """

    fields: tuple[Field, ...]
    folder: Path | None = None
    keywords: bool = False


class Embedder:
    """Writes descriptions as rows come. Pixels are not decoded, and nothing else in a file changes.

    Attributes:
        n_written: files that have their description now.
        n_failed: files that cannot have one, or cannot be written.
        n_without_field: files whose format has no place for a field that was wanted; the others are filled.
        n_without_file: answers about what is no image file of its own: URLs, pages, frames, several images.
        on_problem: told, in a line, of each file that cannot have its description.

    Raises:
        OutputError: the folder for copies cannot be made.
    """

    def __init__(self, style: EmbedStyle, answer_of: Callable[[str], Row | None]) -> None:
        if style.folder is not None:
            with as_output_error(shown(style.folder)):
                style.folder.mkdir(parents=True, exist_ok=True)
        self._style = style
        self._answer_of = answer_of
        self._targets: dict[Path, str] = {}
        self.n_written = 0
        self.n_failed = 0
        self.n_without_field: Counter[Field] = Counter()
        self.n_without_file = 0
        self.on_problem: Callable[[str], None] = lambda _text: None

    @property
    def writes_keywords(self) -> bool:
        """Whether it writes keywords in place of descriptions."""
        return self._style.keywords

    @property
    def folder(self) -> Path | None:
        """Where copies go; ``None`` if there are none."""
        return self._style.folder

    def __call__(self, item: Item, row: Row | None) -> None:
        """Put the answer of a row into its image.

        Raises:
            OutputError: the disk is full, or fails.
        """
        row = self._answer_of(item.id) if row is None else row
        if row is None or row["error"] is not None:
            return
        source = item.sources[0] if len(item.sources) == 1 else None
        if not isinstance(source, Path) or item.part is not None or item.whole is not None:
            self.n_without_file += 1
            return
        try:
            self._embed(source, item, self._said(row["answer"], shown(source)))
        except (ImageError, TargetError) as error:
            self.n_failed += 1
            hint = f"; {error.hint}" if error.hint else ""
            self.on_problem(f"not embedded: {error}{hint}")

    def _said(self, answer: str, name: str) -> Said:
        if not self._style.keywords:
            return answer.strip()
        words = keywords_in(answer)
        if not words:
            raise ImageError(f"{name}: its answer is no list of keywords")
        return words

    def _embed(self, source: Path, item: Item, text: Said) -> None:
        name = shown(source)
        with as_target_error(name):
            before = source.read_bytes()
        fields = fields_that_fit(before, self._style.fields, name)
        self._write_fields(source, item, text, before, fields)
        self.n_written += 1
        self.n_without_field.update(field for field in self._style.fields if field not in fields)

    def _write_fields(self, source: Path, item: Item, text: Said, before: bytes, fields: tuple[Field, ...]) -> None:
        name = shown(source)
        if self._style.folder is None:
            if leads_out(item, source):
                raise TargetError(f"{name}: a link leads out of the folder")
            if not _is_described(before, text, fields, name):
                after = describe_file(before, text, fields, name)
                self._write_in_place(Path(os.path.realpath(source)), before, after)
            return
        target = self._target(source, item)
        with as_target_error(shown(target)):
            if os.path.lexists(target) and not target.is_file():
                raise TargetError(f"{shown(target)}: not a regular file")
            old = target.read_bytes() if target.exists() else None
            if old is not None and not is_same_image(old, before):
                raise ImageError(f"{shown(target)}: another image is there already")
            if old is None or not _is_described(old, text, fields, shown(target)):
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(target, describe_file(before, text, fields, name), like=source)

    def _target(self, source: Path, item: Item) -> Path:
        """The copy's place: below the folder as the image lies below the one that was named, else as it was named."""
        assert self._style.folder is not None
        target = self._style.folder / (item.below or _as_named(source))
        place = Path(os.path.realpath(target))
        if not place.is_relative_to(os.path.realpath(self._style.folder)):
            raise TargetError(f"{shown(target)}: a link leads out of the folder")
        if place == Path(os.path.realpath(source)):
            raise ImageError(f"{shown(source)}: the copy would replace it", hint="--embed-in-place keeps a backup")
        owner = self._targets.setdefault(target, item.id)
        if owner != item.id:
            raise ImageError(f"{shown(source)}: its copy would have the place of {owner}'s: {shown(target)}")
        return target

    @staticmethod
    def _write_in_place(path: Path, before: bytes, after: bytes) -> None:
        with as_target_error(shown(path)):
            _keep(path, before)
            _write(path, after, like=path)


def _is_described(data: bytes, text: Said, fields: tuple[Field, ...], name: str) -> bool:
    if isinstance(text, str):
        return all(description_of(data, field, name) == text for field in fields)
    return not any(not_among(text, keywords_of(data, field, name)) for field in fields)


def _as_named(source: Path) -> Path:
    return Path(source.name) if source.is_absolute() or ".." in source.parts else source


def _write(target: Path, data: bytes, *, like: Path) -> None:
    mode = like.stat().st_mode & 0o7777
    with replacing_durably(target) as file:
        file.write(data)
        if hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # FAT and the like, which have no permissions to lose
                os.fchmod(file.fileno(), mode)


def _keep(path: Path, data: bytes) -> None:
    """Have the original beside its image, unless it is there: ``photo.jpg.orig``, else ``photo.jpg.orig2`` ..."""
    number = 1
    while True:
        backup = path.with_name(f"{path.name}{ORIGINAL}{number if number > 1 else ''}")
        if not os.path.lexists(backup):
            break
        if backup.is_file() and is_same_image(backup.read_bytes(), data):
            return
        number += 1
    with replacing_durably(backup) as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(OSError):
            shutil.copystat(path, file.name)
