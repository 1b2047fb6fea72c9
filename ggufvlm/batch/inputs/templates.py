"""Prompts with fields: ``Describe {stem}, taken {exif.DateTimeOriginal}.``"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.batch.item import Item
from ggufvlm.errors import InputError, UsageError

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<field>[^\W\d][\w .-]*)\}|[{}]")
_OF_PATH = ("stem", "name", "folder", "path")
_OF_PART = ("page", "time")
_BUILT_IN = (*_OF_PATH, *_OF_PART, "id")
_EXIF = "exif."

Fill = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt in pieces: text at even places, names of fields at odd ones."""

    pieces: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names in it."""
        return self.pieces[1::2]

    @property
    def needs_exif(self) -> bool:
        """Whether the image file has to be looked into."""
        return any(name.startswith(_EXIF) for name in self.fields)

    def check(self, columns: frozenset[str] | None) -> None:
        """Refuse fields that no input can have.

        Args:
            columns: of the tables; ``None`` where only the rows can tell.

        Raises:
            UsageError: there is one.
        """
        for name in self.fields:
            if name.startswith(_EXIF):
                _check_exif(name.removeprefix(_EXIF))
            elif name not in _BUILT_IN and columns is not None and name not in columns:
                known = ", ".join((*_BUILT_IN, "exif.NAME", *sorted(columns)))
                raise UsageError(f"the prompt's field {{{name}}} does not exist", hint=f"known: {known}")

    def fill(self, item: Item, exif: dict[str, str]) -> str:
        """The prompt for one input.

        Raises:
            InputError: it lacks a field.
        """
        pieces = [_value(piece, item, exif) if place % 2 else piece for place, piece in enumerate(self.pieces)]
        return "".join(pieces)


def parse(text: str) -> Template:
    """Read a prompt; ``{{`` and ``}}`` are literal braces.

    Raises:
        UsageError: a brace that is neither.
    """
    pieces, end = [""], 0
    for found in _PIECE.finditer(text):
        pieces[-1] += text[end : found.start()]
        end = found.end()
        if found["field"]:
            pieces += [found["field"], ""]
        elif len(found[0]) == 2:
            pieces[-1] += found[0][0]
        else:
            near = text[found.start() : found.start() + 20]
            raise UsageError(f"the prompt has a brace that begins no field: {near!r}", hint="write {{ for {, }} for }")
    pieces[-1] += text[end:]
    return Template(tuple(pieces))


def literal(text: str) -> Template:
    """A prompt that is taken as it stands."""
    return Template((text,))


def _value(name: str, item: Item, exif: dict[str, str]) -> str:
    if name.startswith(_EXIF):
        value = exif.get(name.removeprefix(_EXIF))
    elif name in item.fields:
        value = item.fields[name]
    elif name == "id":
        value = item.id
    elif name in _OF_PART:
        place = getattr(item.part, name, None)
        value = None if place is None else str(place)
    else:
        value = _of_path(name, item.path) if name in _OF_PATH and item.path else None
    if not value:
        raise InputError(f"{item.id}: no {{{name}}} for the prompt")
    return value


def _of_path(name: str, path: str) -> str:
    found = Path(path.split("?")[0] if "://" in path else path)
    if name == "path":
        return path
    if name == "folder":
        return found.parent.name or found.absolute().parent.name
    return found.stem if name == "stem" else found.name


def _check_exif(name: str) -> None:
    from ggufvlm.media.decoding.headers import is_exif_name

    if not is_exif_name(name):
        raise UsageError(f"EXIF has no entry {name!r}", hint="for example exif.DateTimeOriginal, exif.Model")
