"""What a user can name an image by -> its encoded bytes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ggufvlm.errors import ImageError
from ggufvlm.files import expanded, is_pipe_of_shell
from ggufvlm.media.sources.clipboard import NAME as CLIPBOARD_NAME
from ggufvlm.media.sources.clipboard import read_clipboard
from ggufvlm.media.sources.data_uri import data_uri_name, is_data_uri, read_data_uri
from ggufvlm.media.sources.labels import label, url_label

MAX_BYTES = 1 << 30
"""Largest file that is read whole: an image without compression takes less for as many pixels as are decoded."""

STDIN = "-"
CLIPBOARD = "clipboard:"
_STDIN_NAME = "<stdin>"


def is_url(text: str) -> bool:
    """Whether ``text`` is an http(s) URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_file_url(text: str) -> bool:
    """Whether ``text`` is a ``file://`` URL."""
    return text[:7].lower() == "file://"


def is_special(text: str) -> bool:
    """Whether ``text`` names an image in any way but a path."""
    return text in (STDIN, CLIPBOARD) or is_url(text) or is_file_url(text) or is_data_uri(text)


def read_source(source: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Read an image file: ``(its bytes, its name for messages)``.

    Args:
        source: a path (``~`` is expanded), ``file://`` URL, http(s) URL, data URI, ``-`` (standard input) or
            ``clipboard:``. A PathLike is always a path.

    Raises:
        ImageError: missing, not allowed, not a file, or not to be downloaded.
    """
    if not isinstance(source, str):
        return _read_path(Path(source), label(os.fspath(source)))
    if not source.strip():
        raise ImageError("an image without a name", hint="a path, a URL, - or clipboard:")
    if source == STDIN:
        return _read_stdin(), _STDIN_NAME
    if source == CLIPBOARD:
        return read_clipboard(), CLIPBOARD_NAME
    if is_data_uri(source):
        return read_data_uri(source)
    if is_file_url(source):
        return _read_path(_path_of(source), label(source))
    if is_url(source):
        from ggufvlm.media.sources.fetch import fetch

        return fetch(source), name_of(source)
    return _read_path(expand_user(source), label(source))


def name_of(source: str) -> str:
    """What messages and results call a source: never a password of a URL, nor the whole of a data URI."""
    if source == STDIN:
        return _STDIN_NAME
    if source == CLIPBOARD:
        return CLIPBOARD_NAME
    if is_data_uri(source):
        return data_uri_name(source)
    return url_label(source) if is_url(source) else label(source)


def expand_user(text: str) -> Path:
    """A path with ``~`` replaced by the home folder, where there is one."""
    try:
        return expanded(text)
    except (RuntimeError, ValueError):  # ~somebody, who does not exist here
        return Path(text)


def local_path(source: object) -> Path | None:
    """The file that a source names, absolute; None for everything that is no file.

    Raises:
        ImageError: a ``file://`` URL of another computer.
    """
    if isinstance(source, os.PathLike):
        return Path(source).absolute()
    if not isinstance(source, str) or (is_special(source) and not is_file_url(source)):
        return None
    return (_path_of(source) if is_file_url(source) else expand_user(source)).absolute()


def is_dangling(path: Path) -> bool:
    """Whether it is a link to a file that is not there."""
    try:
        return path.is_symlink() and not path.exists()
    except (OSError, ValueError):
        return False


def _read_stdin() -> bytes:
    # sys.stdin is None where there is no console, and a terminal would wait for an image to be typed.
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError(f"{_STDIN_NAME}: nothing is piped in", hint="for example: ggufvlm describe - < photo.jpg")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not data:
        raise ImageError(f"{_STDIN_NAME}: nothing came in")
    _check_bytes(len(data), _STDIN_NAME)
    return data


def _check_bytes(n_bytes: int, name: str) -> None:
    if n_bytes > MAX_BYTES:
        raise ImageError(f"{name}: {n_bytes} bytes: a file of more than {MAX_BYTES >> 30} GB is no image")


def _path_of(url: str) -> Path:
    from urllib.request import url2pathname

    try:
        parts = urlsplit(url)
        # A browser escapes ? and # in file names; a person does not.
        path = Path(url2pathname(url[len("file://") + len(parts.netloc) :]))
    except (ValueError, OSError) as error:
        raise ImageError(f"{label(url)}: not a valid URL ({error})") from error
    if parts.netloc.lower() not in ("", "localhost"):
        raise ImageError(f"{label(url)}: names a file on another computer", hint="file:///path/to/photo.jpg")
    return path


def read_start(path: Path, name: str, n_bytes: int) -> bytes:
    """The beginning of a file.

    Args:
        path: of the file.
        name: what messages call it.
        n_bytes: how much to read, at most.

    Raises:
        ImageError: missing, not allowed, not a file.
    """
    return _read_path(path, name, n_bytes)[0]


def _read_path(path: Path, name: str, n_bytes: int | None = None) -> tuple[bytes, str]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: a folder, not an image", hint=f"for all images in it: '{path / '*'}'")
        # Devices, sockets and pipes into which nobody writes may never end.
        if stat.S_ISFIFO(mode) and not is_pipe_of_shell(path):
            raise ImageError(f"{name}: a named pipe", hint="ggufvlm describe - < PIPE")
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise ImageError(f"{name}: not a regular file")
        with path.open("rb") as file:
            if n_bytes is not None:
                return file.read(n_bytes), name
            _check_bytes(os.fstat(file.fileno()).st_size, name)
            data = file.read(MAX_BYTES + 1)  # a pipe has no size, and a file may grow
        _check_bytes(len(data), name)
        return data, name
    except FileNotFoundError:
        if is_dangling(path):
            raise ImageError(f"{name}: a link to a file that is not there") from None
        raise ImageError(f"no such image: {name}") from None
    except PermissionError as error:
        raise ImageError(f"{name}: permission denied") from error
    except MemoryError:
        raise ImageError(f"{name}: too large for memory") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a NUL character, or one that the file system cannot encode
        raise ImageError(f"{name}: not a possible file name ({error})") from error
