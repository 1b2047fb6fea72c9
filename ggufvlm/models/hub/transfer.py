"""The bytes of one file, from the Hub into the cache: resumed, checked, and never twice at the same time.

huggingface_hub itself begins anew after an interruption (since 2.0 it deletes what has come so far, and Xet keeps no
partial files). So the bytes are fetched here, over plain HTTP with ranges, with that client's session, token and
locks, and are put where it looks for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ggufvlm.errors import DownloadError
from ggufvlm.models.hub.cache import (
    blob_path,
    cache_folder,
    link,
    partial_path,
    partial_size,
    repo_folder,
    snapshot_path,
)
from ggufvlm.models.hub.client import DELAYS, file_url, patiently, request_headers, wait
from ggufvlm.models.hub.errors import explained, http_error, is_transient

if TYPE_CHECKING:
    from hashlib import _Hash

Report = Callable[[int], None]
"""Gets the number of bytes that have been added; negative when some had to be thrown away."""

MAX_REQUEST = 8 << 30
"""Bytes asked for at once: content networks refuse to hand out more than some 50 GB in one answer."""
_READ = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadItem:
    """One file to fetch. Without a checksum its size is all that can be checked."""

    repo: str
    commit: str
    name: str
    size: int
    sha256: str | None

    @property
    def checksum(self) -> str:
        """What the cache calls the bytes."""
        return self.sha256 or f"{self.commit}-{self.name.replace('/', '-')}"

    @property
    def path(self) -> Path:
        """Where the file will lie."""
        return snapshot_path(self.repo, self.commit, self.name)


def complete(item: DownloadItem) -> DownloadItem:
    """The item with what only the file's own headers tell, where the Hub's list does not tell size and checksum."""
    from huggingface_hub import constants, get_hf_file_metadata

    if item.sha256 and item.size:
        return item
    url = file_url(item.repo, item.name, item.commit)
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    with explained(item.repo, item.name):
        found = patiently(lambda: get_hf_file_metadata(url, timeout=timeout, headers=request_headers()))
    if not found.size:
        raise DownloadError(f"{item.repo} does not tell how large {item.name} is", hint="is HF_ENDPOINT right?")
    etag = found.etag or ""
    is_sha256 = len(etag) == 64 and set(etag) <= set("0123456789abcdef")
    sha256 = item.sha256 or (etag if is_sha256 else None)
    return DownloadItem(repo=item.repo, commit=item.commit, name=item.name, size=found.size, sha256=sha256)


def fetch(item: DownloadItem, report: Report, *, anew: bool = False) -> Path:
    """Bring a file into the cache and return its path there.

    Args:
        report: hears of bytes left by an earlier attempt as well.
        anew: fetch it even though it is there: it is damaged.

    Raises:
        DownloadError: it did not come; what has come stays for the next attempt.
    """
    from huggingface_hub.utils import WeakFileLock

    blob = blob_path(item.repo, item.checksum)
    lock = cache_folder() / ".locks" / repo_folder(item.repo).name / f"{item.checksum}.lock"
    with explained(item.repo, item.name):
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not anew and _has_size(item.path, item.size):  # another process was faster
                report(item.size)
            elif not anew and _has_size(blob, item.size):
                report(item.size)
                link(blob, item.path)
            else:
                _receive_checked(item, report)
                partial_path(item.repo, item.checksum).replace(blob)
                link(blob, item.path)
    return item.path


def n_bytes_here(item: DownloadItem) -> int:
    """Bytes of a file that need not come."""
    if _has_size(blob_path(item.repo, item.checksum), item.size):
        return item.size
    return min(partial_size(item.repo, item.checksum), item.size)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _receive_checked(item: DownloadItem, report: Report) -> None:
    for _ in range(2):
        with _Partial(item, report) as partial:
            _receive(partial)
            if item.sha256 in (None, partial.hash.hexdigest()):
                return
            partial.restart()
    partial.path.unlink(missing_ok=True)
    raise DownloadError(
        f"{item.name} arrived damaged twice: its checksum is not the one that {item.repo} promises",
        hint="a proxy or a mirror (HF_ENDPOINT) that changes files? try another network",
    )


def _receive(partial: _Partial) -> None:
    """All bytes that are missing, with as many tries as bring some."""
    failures = 0
    while partial.n_bytes < partial.item.size:
        before = partial.n_bytes
        try:
            _stream(partial)
        except http_error() as error:
            if _has_status(error, 416):
                partial.restart()
            elif not is_transient(error):
                raise
            failures = 1 if partial.n_bytes > before else failures + 1
            if failures > len(DELAYS):
                raise
            wait(error, failures)


def _stream(partial: _Partial) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import hf_raise_for_status

    item, start = partial.item, partial.n_bytes
    end = min(item.size, start + MAX_REQUEST)
    headers = {**request_headers(), "Range": f"bytes={start}-{end - 1}"}
    with get_session().stream(
        "GET",
        file_url(item.repo, item.name, item.commit),
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if response.status_code != 206:
            partial.restart()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise DownloadError(f"the Hub sent another part of {item.name} than was asked for")
        for piece in response.iter_bytes():
            partial.add(piece)


class _Partial:
    """The file of bytes that have come so far, with the checksum of exactly these."""

    def __init__(self, item: DownloadItem, report: Report) -> None:
        self.item = item
        self.path = partial_path(item.repo, item.checksum)
        self.n_bytes = 0
        self.hash: _Hash = hashlib.sha256()
        self._report = report
        self._file: BinaryIO

    def __enter__(self) -> _Partial:
        self.path.touch()
        self._file = self.path.open("r+b", buffering=0)
        while piece := self._file.read(_READ):
            self._count(piece)
        if self.n_bytes > self.item.size:
            self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, piece: bytes) -> None:
        """Keep bytes that have come."""
        if self.n_bytes + len(piece) > self.item.size:
            raise DownloadError(f"{self.item.name} is larger at the Hub than the Hub says")
        rest = memoryview(piece)
        while rest:  # an unbuffered write may take less
            rest = rest[self._file.write(rest) or 0 :]
        self._count(piece)

    def restart(self) -> None:
        """Throw away what has come."""
        self._report(-self.n_bytes)
        self.n_bytes, self.hash = 0, hashlib.sha256()
        self._file.seek(0)
        self._file.truncate()

    def _count(self, piece: bytes) -> None:
        self.n_bytes += len(piece)
        self.hash.update(piece)
        self._report(len(piece))


def _has_status(error: Any, status: int) -> bool:
    return getattr(getattr(error, "response", None), "status_code", None) == status


def size_text(n_bytes: float) -> str:
    """A human-readable size: decimal units, as disks and the Hub have them.

    >>> size_text(986046944), size_text(2073056), size_text(12)
    ('986 MB', '2.1 MB', '12 B')
    """
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if n_bytes < 999.5:
            break
        n_bytes, unit = n_bytes / 1000, larger
    digits = 1 if unit in ("GB", "TB") or (unit != "B" and n_bytes < 9.95) else 0
    return f"{n_bytes:.{digits}f} {unit}"
