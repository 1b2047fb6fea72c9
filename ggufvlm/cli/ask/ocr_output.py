"""Where pages go: stdout or a file, as they come."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ggufvlm.cache.written import remember
from ggufvlm.errors import OutputError
from ggufvlm.tasks.ocr.pages import Joiner, Separator, drop_repeated

if TYPE_CHECKING:
    from ggufvlm.families.pages import PageFormat
    from ggufvlm.tasks.ocr.page import Page

_LOOP = "the model fell into a repetition loop, the rest is missing"


class PageWriter:
    """Writes each page as soon as it is certain what stands there.

    Args:
        out: a file; ``None`` is stdout.
        wanted: what the pages are written in.
        n_pages: that there will be; one page alone gets no mark.
        joins: one running text in place of separate pages.
        drops: leave out running heads and feet, which can be told when all pages are there.
        writes: whether to write at all, or only to keep :attr:`text`.
    """

    def __init__(
        self, out: Path | None, wanted: PageFormat, n_pages: int, *, joins: bool, drops: bool, writes: bool
    ) -> None:
        self._target = Target(out) if writes else None
        self._wanted = wanted
        self._held: list[tuple[str, str]] | None = [] if drops else None
        self._joiner = Joiner() if joins else None
        self._separator = Separator(self._mark(out, writes) if n_pages > 1 else None)
        self._written: list[str] = []

    def _mark(self, out: Path | None, writes: bool) -> str | None:
        if self._wanted == "markdown":
            return "<!-- {} -->\n\n"
        # form feeds are for programs; people want to see where they are
        return "[{}]\n" if writes and out is None and sys.stdout.isatty() else None

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._written)

    def add(self, page: Page) -> None:
        """Take the next page.

        Raises:
            OutputError: the file cannot be written.
        """
        name, text = page.place.name.replace("-->", "-- >"), page.text
        if page.is_given_up:
            mark = f"{name}: {_LOOP}"
            text = f"{text}\n\n" + (f"<!-- {mark} -->" if self._wanted == "markdown" else f"[{mark}]")
        if self._held is not None:
            self._held.append((name, text))
        else:
            self._put(name, text)

    def end(self) -> None:
        """Write what was held back, and close the file.

        Raises:
            OutputError: the file cannot be written.
        """
        held, self._held = self._held or [], None
        for (name, _), text in zip(held, drop_repeated([text for _, text in held]), strict=True):
            self._put(name, text)
        if self._joiner is not None:
            self._write(self._joiner.end())
        if self._target is not None:
            self._target.close()

    def _put(self, name: str, text: str) -> None:
        self._write(self._joiner.add(text) if self._joiner is not None else self._separator.add(name, text))

    def _write(self, text: str) -> None:
        self._written.append(text)
        if self._target is not None:
            self._target.write(text)


class Target:
    """A file that is begun with the first text, or stdout."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._is_broken = False

    def write(self, text: str) -> None:
        """Write and flush.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._is_broken:
            return  # that was told once
        if self._path is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", newline="\n")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._give_up()
            raise OutputError(f"{self._path}: cannot be written ({error.strerror or error})") from error

    def _give_up(self) -> None:
        self._is_broken = True
        if self._file is not None:
            with suppress(OSError):  # what could not be written cannot be written now
                self._file.close()

    def close(self) -> None:
        """End the file."""
        if self._path is not None and self._file is not None and not self._is_broken:
            self._file.close()
            remember(self._path)
