"""Which image an address in a text means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media.decoding.headers import header_size
from ggufvlm.media.sources.read import is_url
from ggufvlm.tasks.alt.text_file import TextFile

_COPIED = ("static", "public")


def is_remote(source: str) -> bool:
    """Whether the image lies on another computer."""
    return is_url(source) or source.startswith("//")


def find_image(source: str, file: TextFile, site: Path | None = None) -> Path | str:
    """The file, URL or data URI that a text means by an address.

    Args:
        source: the address.
        file: the text.
        site: where addresses with a leading slash begin; else in the folder that was named, or where makers of web
            sites have what they copy: in ``static`` or ``public`` there, or beside it.

    Raises:
        ImageError: there is no such file.
    """
    if is_remote(source):
        return f"https:{source}" if source.startswith("//") else source
    if source[:5].lower() == "data:":
        return source
    try:
        name = unquote(urlsplit(source).path)
    except ValueError as error:
        raise ImageError(f"not a possible address: {source}") from error
    if not name.startswith("/"):
        bases = [file.path.parent]
    elif site is not None:
        bases = [site]
    else:
        makers = (file.root, file.root.absolute().parent)
        bases = [file.root, *(place / folder for place in makers for folder in _COPIED)]
    # a question mark or percent sign may be part of the file's name, too
    for path in (base / spelled.lstrip("/") for base in bases for spelled in (name, source)):
        try:
            if path.is_file():
                return path.resolve()
        except (OSError, ValueError):
            continue
    raise ImageError(f"no such image: {source}")


def is_dot(image: Path | str) -> bool:
    """Whether a file or data URI is at most one pixel wide and high: spacers, counters and placeholders."""
    try:
        return (isinstance(image, Path) or not is_remote(image)) and header_size(image) == (1, 1)
    except GGUFVLMError:
        return False  # told when it is asked about
