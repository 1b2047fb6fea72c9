"""Files that are being written: whole or not at all, and whoever ends the process on the spot takes them away first."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from ggufvlm.errors import InputError, ModelError, UsageError

_unfinished: set[Path] = set()
_swept: set[Path] = set()
_PARTIAL = re.compile(r"\..*\.([0-9a-f]{8}|[0-9a-f]{10})\.partial", re.DOTALL)
_LOCKED = 10  # digits in the name of a file whose writer holds a lock on it
_ABANDONED, _JUST_MADE = 3600, 2  # seconds


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with ``~`` put in full; as it is for a user without a home, as containers have them."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def personal_folder(kind: Literal["cache", "config", "state"]) -> Path:
    """Where the system keeps the user's files of this kind; without a home, in the folder for temporary files.

    Raises:
        UsageError: without a home, and somebody else has made the folder.
    """
    import platformdirs

    find = {
        "cache": platformdirs.user_cache_path,
        "config": platformdirs.user_config_path,
        "state": platformdirs.user_state_path,
    }[kind]
    try:
        return find("ggufvlm", appauthor=False)
    except RuntimeError:
        return temporary_home() / kind


def is_pipe_of_shell(path: Path) -> bool:
    """Whether it is what ``<(command)`` gives: a pipe that somebody writes into."""
    return str(path).startswith(("/dev/fd/", "/proc/self/fd/"))


def read_text(path: Path, *, max_bytes: int = 16_000_000) -> str:
    """A text file that somebody named.

    Args:
        path: of a file, or a pipe of the shell: who reads another pipe, or a device, may wait indefinitely.
        max_bytes: the largest that is read; no prompt and no grammar comes near it.

    Raises:
        InputError: missing, not allowed, no such file, too large, not UTF-8.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and is_pipe_of_shell(path)):
            raise InputError(f"{path}: not a regular file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise InputError(f"{path}: larger than {max_bytes // 1_000_000} MB: this is no text for a model")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL character, or one that the file system cannot encode
        raise InputError(f"{path}: not a possible file name ({error})") from error


def check_output(path: Path, inputs: Iterable[object] = (), *, is_replaced: bool = False) -> None:
    """Refuse, before anything is computed, to write over what is read, or over what is no file.

    Args:
        path: of the output.
        inputs: what is read: paths are compared, everything else is passed over.
        is_replaced: a new file takes its place; a link or device would be gone then.

    Raises:
        UsageError: it would.
    """
    for source in inputs:
        if isinstance(source, (str, os.PathLike)) and _is_same_file(path, source):
            raise UsageError(f"{path}: would write over {source} itself", hint="name another output")
    try:
        mode = (path.lstat() if is_replaced else path.stat()).st_mode
    except (OSError, ValueError):
        if os.path.islink(path):  # noqa: PTH114 - pathlib's raises for names that cannot be
            raise UsageError(f"{path} is a link to a file that is not there", hint="name another output") from None
        return  # nothing is there, or it cannot be written, which is told then
    if stat.S_ISLNK(mode):
        raise UsageError(f"{path} is a link", hint=f"name the file itself: {os.path.realpath(path)}")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (stat.S_ISCHR(mode) and not is_replaced)):
        raise UsageError(f"{path} is no regular file", hint="name another output")


def _is_same_file(path: Path, source: str | os.PathLike[str]) -> bool:
    try:
        return path.samefile(source)
    except (OSError, ValueError):
        return False


def temporary_home() -> Path:
    """A folder for a user without a home: the same for every process of this user.

    Raises:
        UsageError: somebody else has made it.
    """
    import tempfile

    folder = Path(tempfile.gettempdir(), f"ggufvlm-{os.getuid() if hasattr(os, 'getuid') else 0}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_ours = not folder.is_symlink() and (not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid())
    except OSError:
        is_ours = False
    if not is_ours:
        raise UsageError(f"no home, and {folder} is not this user's", hint="HOME=FOLDER names one")
    return folder


@contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Within this block the file is of no use to anybody; behind it, it is gone or has another name.

    Raises:
        OSError: it cannot be taken away.
    """
    _unfinished.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _unfinished.discard(path)


def discard() -> None:
    """Take away what is unfinished. For signal handlers: no locks, no imports, no errors."""
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; it takes the target's place if the block ends well, else it goes away.

    Raises:
        ModelError: the file cannot be written.
    """
    sweep(target.parent)
    partial = _beside(target, secrets.token_hex(4))
    with unfinished(partial):
        try:
            yield partial
            partial.replace(target)
        except OSError as error:
            raise ModelError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def replacing_durably(target: Path) -> Iterator[IO[bytes]]:
    """As :func:`replacing`, for what nobody can make again: an open file, on the disk before it takes its place.

    Raises:
        OSError: it cannot be written.
    """
    sweep(target.parent)
    partial = _beside(target, secrets.token_hex(_LOCKED // 2))
    with unfinished(partial):
        with partial.open("x+b") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Take away what killed processes have left half written in a folder, once a process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PARTIAL.fullmatch(entry.name)
            if found and _is_abandoned(entry, is_locked_by_writer=len(found[1]) == _LOCKED):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _is_abandoned(entry: os.DirEntry[str], *, is_locked_by_writer: bool) -> bool:
    try:
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
        if not entry.is_file(follow_symlinks=False) or age < _JUST_MADE:
            return False
        if not is_locked_by_writer or sys.platform == "win32":  # Windows keeps what is open
            return age > _ABANDONED or is_locked_by_writer
        with Path(entry.path).open("rb") as file:
            return _lock(file) or age > _ABANDONED
    except OSError:
        return False


def _lock(file: IO[bytes]) -> bool:
    """Mark a file as being written; returns whether nobody else writes it. Some file systems have no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _beside(target: Path, token: str) -> Path:
    # a name may have 255 bytes, and a character four of them
    return target.with_name(f".{target.name[:50]}.{token}.partial")
