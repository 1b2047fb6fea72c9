"""What a line of a chat says: images that stand in it, and the text that is left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ggufvlm.errors import ImageError
from ggufvlm.files import expanded
from ggufvlm.media import local_path
from ggufvlm.media.decoding.formats import is_document_name, is_image_name
from ggufvlm.media.sources.data_uri import is_data_uri
from ggufvlm.media.sources.read import is_file_url, is_url

QUOTES = '"""'
_COMMAND = re.compile(r"/[A-Za-z?]*")
_BACKSLASH = r"\\.|" if os.name == "posix" else ""  # elsewhere it separates folders
_WORD = re.compile(rf"""(?P<quoted>"[^"\n]+"|'[^'\n]+')(?=[\s.,;:!?)]|$)|(?:{_BACKSLASH}\S)+""")
_MOST_WORDS = 8  # of an unquoted name
_PUNCTUATION = ".,;:!?)"
_SENTENCE_ENDS = (".", "?", "!", ":")


@dataclass(slots=True)
class ChatLine:
    """A line: images to stage, and the text for the model."""

    text: str
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it stands in a line, from ``start`` to ``end``, and what it means without quotes and backslashes."""

    meaning: str
    start: int
    end: int


def words(line: str) -> Iterator[Word]:
    """The words of a line. Quotes and backslashes are read as terminals write them when a file is dropped in."""
    for match in _WORD.finditer(line):
        raw = match[0]
        meaning = raw[1:-1] if match["quoted"] else _unescaped(raw)
        yield Word(meaning, match.start(), match.end())


def is_command(line: str) -> bool:
    """Whether a line is a command, known or not; ``/home/me/photo.jpg`` is none."""
    first = line.split(maxsplit=1)[0] if line.strip() else ""
    return _COMMAND.fullmatch(first) is not None and not Path(first).is_file()


def is_open(text: str) -> bool:
    """Whether three quotes have been opened and not closed."""
    stripped = text.strip()
    return stripped.startswith(QUOTES) and (len(stripped) < 2 * len(QUOTES) or not stripped.endswith(QUOTES))


def understand(line: str) -> ChatLine:
    """Find the images of a line. Text between three quotes is taken as it is.

    An image at the beginning of the line or behind a sentence leaves the text; within a sentence its name stays.

    Raises:
        ImageError: a word names an image file that does not exist. Not in a text of several lines.
    """
    stripped = line.strip()
    if stripped.startswith(QUOTES):
        return ChatLine(stripped.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n"))
    whole = _unescaped(stripped)
    if _is_file(whole) and (_is_named_so(whole) or expanded(whole).is_absolute()):
        return ChatLine("", [whole])
    said, at = ChatLine(""), 0
    for word in _whole_names(stripped):
        source, rest = _image(word.meaning, strict="\n" not in stripped)
        if source is None:
            continue
        before = said.text + stripped[at : word.start]
        is_apart = not before.strip() or before.rstrip().endswith(_SENTENCE_ENDS)
        said.text = before.rstrip(" ") + (" " if before.strip() else "") if is_apart else before + _name(source) + rest
        said.sources.append(source)
        at = word.end
    said.text = (said.text + (stripped[at:] if said.text.strip() else stripped[at:].lstrip())).strip()
    return said


def _whole_names(line: str) -> Iterator[Word]:
    """The words of a line; those that together name an image with blanks in its name are one."""
    found, at = list(words(line)), 0
    while at < len(found):
        word = found[at]
        for last in reversed(found[at + 1 : at + _MOST_WORDS]):
            together = line[word.start : last.end].rstrip(_PUNCTUATION)
            if "\n" not in together and _is_named_so(together) and _is_file(together) and not _is_file(word.meaning):
                word = Word(together, word.start, word.start + len(together))
                break
        yield word
        at += 1
        while at < len(found) and found[at].start < word.end:
            at += 1


def _image(meaning: str, *, strict: bool) -> tuple[str | None, str]:
    """The image that a word names, if any, and punctuation behind it."""
    if is_file_url(meaning) or is_data_uri(meaning):
        return meaning, ""
    bare = meaning.rstrip(_PUNCTUATION)
    if is_url(bare):
        return (bare, "") if _is_named_so(bare.partition("?")[0].partition("#")[0]) else (None, "")
    for name in (meaning, bare):
        if _is_named_so(name) and _is_file(name):
            return name, meaning[len(name) :]
    if strict and _is_named_so(bare):
        raise ImageError(f"no such image: {bare}", hint=f"a text that only looks like one goes between {QUOTES}")
    return None, ""


def _is_named_so(name: str) -> bool:
    """Whether a name ends like an image, a PDF or a video."""
    return is_image_name(name) or is_document_name(name)


def _name(source: str) -> str:
    path = local_path(source)
    return path.name if path else "the image"


def _is_file(name: str) -> bool:
    try:
        return bool(name) and expanded(name).is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _unescaped(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'":
        return raw[1:-1]
    return re.sub(r"\\(.)", r"\1", raw) if _BACKSLASH else raw
