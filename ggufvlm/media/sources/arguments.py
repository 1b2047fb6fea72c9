"""Which command line arguments are images, and which one is the prompt.

An argument is, in this order:

1. an image: ``-``, ``clipboard:``, an http(s) or ``file://`` URL, a data URI, an existing file (of any name);
2. a pattern: an existing folder, or a glob pattern that matches;
3. a missing image: it ends like an image file, like a glob (``shots/*.png``) or like a folder (``shots/``), or starts
   with ``./``, ``../`` or ``~/``, and nothing is there;
4. text: all the rest.

Several words that end like an image file are a missing image too ("my photo.jpg"), unless they are a sentence: their
last word is a file that exists ("what is odd in photo.jpg"), or they would lie in a folder that does not exist and no
word before the last has a path separator ("look at shots/2.png").
"""

from __future__ import annotations

import difflib
import enum
import itertools
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from ggufvlm.errors import ImageError, UsageError
from ggufvlm.media.decoding.formats import is_image_name, looks_like_image_name
from ggufvlm.media.sources.labels import label
from ggufvlm.media.sources.patterns import ends_like_glob, has_magic, images_in, matches_something
from ggufvlm.media.sources.read import expand_user, is_dangling, is_special, is_url

_SPACE = re.compile(r"\s")
_SEPARATORS = ("/", "\\")
_MOST_NAMES_COMPARED = 10_000
_MOST_WORDS = 8
_HOST = re.compile(r"(?:www\.[\w.-]+|[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,})/\S+")
"""What an address begins with whose https:// was left out."""


class ArgumentKind(enum.Enum):
    """What an argument is taken for."""

    IMAGE = "image"
    PATTERN = "pattern"
    MISSING_IMAGE = "missing image"
    TEXT = "text"


def classify(argument: str) -> ArgumentKind:
    """Tell images from text, by the rules at the top of this module. Looks at the file system, opens nothing."""
    if not argument or argument.isspace():
        return ArgumentKind.TEXT
    one_word = _SPACE.search(argument) is None
    named_like_image = looks_like_image_name(argument) and "\n" not in argument
    if is_special(argument) and (one_word or not is_url(argument) or named_like_image):
        return ArgumentKind.IMAGE
    found = _kind_of_path(argument, named_like_image)
    if found is not None:
        return found
    if has_magic(argument) and matches_something(argument):
        return ArgumentKind.PATTERN
    if named_like_image:
        return ArgumentKind.MISSING_IMAGE if one_word or not _is_sentence(argument) else ArgumentKind.TEXT
    like_path = argument.endswith(_SEPARATORS) or argument.startswith(("./", "../", "~/"))
    if ends_like_glob(argument) or (one_word and like_path):
        return ArgumentKind.MISSING_IMAGE
    return ArgumentKind.TEXT


def expand(
    arguments: Sequence[str], *, as_text: str = "a prompt that looks like a file name goes through -p"
) -> tuple[list[str], str | None]:
    """Split arguments into images and prompt: ``(sources, prompt or None)``.

    Folders and patterns are replaced by their images, in natural order; all other sources stay as they are.

    Args:
        arguments: as they were typed.
        as_text: how one that looks like an image can be meant as text, for the hint.

    Raises:
        ImageError: an image that does not exist, a folder or pattern without images.
        UsageError: more than one text, or images behind it.
    """
    arguments = rejoined(arguments)
    kinds = [classify(argument) for argument in arguments]
    texts = [argument for argument, kind in zip(arguments, kinds, strict=True) if kind is ArgumentKind.TEXT]
    if len(texts) > 1:
        _refuse_cut_name(arguments, kinds)
        together = label(" ".join(texts))
        raise UsageError(
            f"more than one prompt: {_quoted(texts[0])} and {_quoted(texts[1])}", hint=f'quote it: "{together}"'
        )
    images: list[str] = []
    for argument, kind in zip(arguments, kinds, strict=True):
        if kind is ArgumentKind.MISSING_IMAGE:
            raise _missing(argument, as_text)
        if kind is ArgumentKind.IMAGE:
            images.append(argument)
        elif kind is ArgumentKind.PATTERN:
            images.extend(images_in(argument))
    if texts and kinds[-1] is not ArgumentKind.TEXT:
        hint = 'images come first: IMAGE... "PROMPT"'
        raise UsageError(f"an image behind the prompt {_quoted(texts[0])}", hint=hint)
    return images, texts[0] if texts else None


def rejoined(arguments: Sequence[str]) -> list[str]:
    """Arguments in which a name that the shell has cut at its blanks is whole again, where that name exists."""
    whole, at = [], 0
    while at < len(arguments):
        n_words = _n_words_of_name(arguments[at : at + _MOST_WORDS])
        whole.append(" ".join(arguments[at : at + n_words]))
        at += n_words
    return whole


def _n_words_of_name(words: Sequence[str]) -> int:
    if not words[0].strip() or is_special(words[0]) or _exists(words[0]):
        return 1
    return next((n for n in range(len(words), 1, -1) if _exists(" ".join(words[:n]))), 1)


def _refuse_cut_name(arguments: Sequence[str], kinds: Sequence[ArgumentKind]) -> None:
    """Raise ImageError if the first texts look like a name that was cut at its blanks, and that does not exist."""
    first = kinds.index(ArgumentKind.TEXT)
    rest = list(itertools.takewhile(lambda kind: kind is ArgumentKind.TEXT, kinds[first:]))
    end = first + len(rest)
    if end < len(kinds) and kinds[end] is ArgumentKind.MISSING_IMAGE:
        name = label(" ".join(arguments[first : end + 1]))
        raise ImageError(f"no such image: {name}", hint=f'a name with blanks goes in quotes: "{name}"')


def _kind_of_path(argument: str, named_like_image: bool) -> ArgumentKind | None:
    try:
        mode = expand_user(argument).stat().st_mode
    except PermissionError:
        # It may exist: reading it gives the better message.
        return ArgumentKind.IMAGE if named_like_image else None
    except (OSError, ValueError):
        return None
    return ArgumentKind.PATTERN if stat.S_ISDIR(mode) else ArgumentKind.IMAGE


def _is_sentence(argument: str) -> bool:
    before, last = argument.rsplit(maxsplit=1) if len(argument.split()) > 1 else ("", argument)
    if _exists(last):
        return True
    return not any(separator in before for separator in _SEPARATORS) and not _exists(str(Path(argument).parent))


def _exists(text: str) -> bool:
    try:
        expand_user(text).stat()
    except (OSError, ValueError):
        return False
    return True


def _missing(argument: str, as_text: str) -> ImageError:
    name = label(argument)
    if is_dangling(expand_user(argument)):
        return ImageError(f"{name}: a link to a file that is not there")
    if _HOST.match(argument) and not _exists(argument.partition("/")[0]):
        return ImageError(f"no such image: {name}", hint=f"did you mean https://{name}?")
    close = _close_match(argument)
    hint = f"did you mean {close}? ({as_text})" if close else as_text
    return ImageError(f"no such image: {name}", hint=hint)


def _close_match(argument: str) -> str | None:
    """The image in the same folder whose name is most like the argument's."""
    path = expand_user(argument)
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), _MOST_NAMES_COMPARED)]
    except (OSError, ValueError):
        return None
    images = {name.casefold(): name for name in names if is_image_name(name)}
    close = difflib.get_close_matches(path.name.casefold(), images, n=1, cutoff=0.6)
    return label(str(Path(argument).with_name(images[close[0]]))) if close else None


def _quoted(text: str) -> str:
    return f'"{label(text)}"'
