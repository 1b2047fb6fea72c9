"""Cells of a table row -> images, prompt, system message and id."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggufvlm.batch.item import Item, Source, clean, false_on_oserror, shown
from ggufvlm.errors import GGUFVLMError, ImageError, InputError, UsageError
from ggufvlm.media.sources.data_uri import is_data_uri
from ggufvlm.media.sources.labels import label, url_label
from ggufvlm.media.sources.read import expand_user, is_file_url, is_url, local_path

_IMAGE = (
    *("image", "images", "image_path", "path", "file", "file_path", "filepath", "filename", "file_name", "image_file"),
    *("url", "image_url", "img", "src", "photo", "picture"),
    *("image_bytes", "bytes", "image_base64", "base64", "b64"),
)
_PROMPT = ("prompt", "question", "instruction", "query")
_SYSTEM = ("system", "system_prompt")
_ID = ("id", "image_id", "uuid", "key")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{64,}={0,2}")
_OWN = frozenset({"id", "path", "image", "prompt_hash", "settings_hash", "finish_reason"})
_HASH_LENGTHS = (32, 40, 64, 96, 128)  # hexadecimal digits
_LONGEST_PATH = 4096
_DEEPEST = 3  # lists in lists
_SHORT = 200  # characters: longer cells are no use in a prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Names of the columns to use; ``None`` looks for the usual ones.

    Attributes:
        guesses_prompt: whether a column with a usual name may give the prompt.
    """

    image: str | None = None
    prompt: str | None = None
    system: str | None = None
    id: str | None = None
    guesses_prompt: bool = True

    def of(self, names: Collection[str], *, where: str) -> Columns:
        """The columns of one table.

        Raises:
            UsageError: a named one is not there, or none can be the image's.
        """
        known = {name.strip().casefold(): name for name in names}
        if known.keys() >= _OWN and self.image is None:
            known.pop("image")  # of rows that a run has written: the hash of their pixels

        def pick(given: str | None, usual: Iterable[str]) -> str | None:
            if given is None:
                return next((known[name] for name in usual if name in known), None)
            if given not in names:
                raise UsageError(f"{where}: no column {given!r}", hint=f"there are: {', '.join(known.values())}")
            return given

        image = pick(self.image, _IMAGE)
        if image is None:
            listed = ", ".join(label(name) for name in known.values())
            raise UsageError(f"{where}: which column has the images?", hint=f"--image-column, one of: {listed}")
        prompt = pick(self.prompt, _PROMPT if self.guesses_prompt else ())
        return Columns(image=image, prompt=prompt, system=pick(self.system, _SYSTEM), id=pick(self.id, _ID))


def item_of(row: Mapping[str, Any], columns: Columns, *, folder: Path, origin: str) -> Item:
    """The input that a row of a table makes; its id may be that of another row, too.

    Args:
        row: the row's values by the names of their columns.
        columns: which of them to use.
        folder: what relative paths start from; where nothing is there, they start from the working folder.
        origin: the table and the row's number, in place of an id and for messages.
    """
    fields = {name: text for name, value in row.items() if (text := _text(value)) is not None}
    error: GGUFVLMError | None = None
    sources: tuple[Source, ...] = ()
    texts: dict[str, str | None] = {}
    try:
        columns = columns.of(row, where=origin)
        assert columns.image is not None
        texts = {name: _cell(row, getattr(columns, name)) for name in ("id", "prompt", "system")}
        if row.keys() >= _OWN and any(row.get(name) not in (None, "") for name in ("page", "time")):
            raise InputError(f"{origin}: a row about a page or frame", hint="name the PDF or the video itself")
        sources = tuple(_sources(row[columns.image], columns.image, folder))
        if not sources:
            error = InputError(f"{origin}: no image in column {columns.image!r}")
    except GGUFVLMError as refusal:
        error = refusal
    path = _name(sources[0]) if sources else None
    return Item(
        id=texts.get("id") or path or origin,
        path=path,
        sources=sources,
        fields=fields,
        prompt=texts.get("prompt"),
        system=texts.get("system"),
        error=error,
    )


def _cell(row: Mapping[str, Any], column: str | None) -> str | None:
    value = row.get(column) if column else None
    if isinstance(value, (list, dict, bytes)):
        raise InputError(f"column {column!r} holds no text but a {type(value).__name__}")
    return readable(str(value)) if value not in (None, "") else None


def readable(text: str) -> str:
    """A cell as valid Unicode. What is not UTF-8 is taken for the code that Windows has for western languages."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        return error.object.decode("cp1252", "replace")
    except UnicodeEncodeError:
        return clean(text)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, (bytes, list, dict)):
        return None
    text = readable(str(value))
    return text if text and (len(text) <= _SHORT or not _BASE64.fullmatch(text.rstrip())) else None


def _sources(value: Any, column: str, folder: Path, depth: int = 0) -> Iterable[Source]:
    if isinstance(value, dict):  # as Hugging Face's datasets keep images
        value = next((value[key] for key in ("bytes", "path", "url") if value.get(key)), None)
    if isinstance(value, (bytes, bytearray)) and value:
        yield bytes(value)
    elif isinstance(value, (list, tuple)):
        for part in value:
            if depth == _DEEPEST:
                raise InputError(f"column {column!r} is nested too deeply")
            yield from _sources(part, column, folder, depth + 1)
    elif isinstance(value, str) and value.strip():
        source = _source(value, column, folder)
        _refuse_pipe(source)
        yield source
    elif value not in (None, "", b"") and not isinstance(value, str):
        raise InputError(f"column {column!r} holds no image but a {type(value).__name__}")


def _source(cell: str, column: str, folder: Path) -> Source:
    text = cell.strip()
    if is_url(text) or is_data_uri(text) or is_file_url(text):
        return text
    found = next((path for path in _paths(cell, folder) if false_on_oserror(path.exists)), None)
    if found is not None:
        return found
    is_hash = len(text) in _HASH_LENGTHS and re.fullmatch("[0-9a-fA-F]+", text)
    if is_hash:
        raise InputError(f"column {column!r} holds a hash and no image: {text}", hint="--image-column names another")
    if re.search("base64|b64", column, re.IGNORECASE) or _BASE64.fullmatch(text.rstrip()):
        decoded = _decoded(text)
        if decoded is not None:
            return decoded
    return folder / (expand_user(text) if text.startswith("~") else text)


def _paths(cell: str, folder: Path) -> Iterator[Path]:
    """What a cell may mean as a file: as it stands, without blanks, in a spreadsheet's code, behind an apostrophe."""
    plain = cell.strip()
    for text in dict.fromkeys((cell, plain, readable(plain), plain.removeprefix("'"))):
        if len(text) <= _LONGEST_PATH:
            yield from (folder / text, Path(text))
            if text.startswith("~"):
                yield expand_user(text)


def _refuse_pipe(source: Source) -> None:
    """Nobody may ever write into a pipe that a list names: reading it would wait indefinitely."""
    path = None if isinstance(source, bytes) else local_path(source)
    if path is not None and false_on_oserror(path.is_fifo):
        raise ImageError(f"{shown(path)}: not a regular file")


def _decoded(text: str) -> bytes | None:
    plain = "".join(text.split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _name(source: Source) -> str | None:
    if isinstance(source, bytes):
        return None
    if isinstance(source, Path):
        return shown(source)
    return url_label(source) if is_url(source) else label(source)
