"""The Hugging Face Hub, through its own client: what a repository holds, and bytes of remote files.

Only this folder imports huggingface_hub. The user's settings (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE`` ...) are those of that client.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from ggufvlm.errors import DownloadError
from ggufvlm.models.hub.errors import (
    explained,
    http_error,
    is_transient,
    is_unreachable,
    not_a_hub,
    offline,
    retry_after,
)
from ggufvlm.models.schema import FilePart

DELAYS: tuple[float, ...] = (0.5, 1, 2, 4, 8)
"""Seconds between two tries of the same request."""
_LONGEST_WAIT = 60.0
_COMMIT, _REPO = r"[0-9a-f]{40}", r"[\w.-]+/[\w.-]+"
_LONGEST_NAME = 255  # bytes; file systems take no more
_LARGEST_FILE = 1 << 50
_NO_ANSWER = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the client raises for JSON that is none, or is not the Hub's."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """What the Hub says of a model repository at one commit.

    Attributes:
        files: GGUF files by name, with size and sha256 where the Hub knows them.
        moved_to: its new name, if the asked-for one has been given up.
    """

    id: str
    commit: str
    files: Mapping[str, FilePart]
    moved_to: str | None = None
    license: str | None = None


def is_offline() -> bool:
    """Whether the user forbids requests."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def read_repository(repo: str, revision: str | None = None) -> Repository:
    """Ask the Hub, with one request, what a repository holds; by default on its main branch.

    Raises:
        DownloadError: it did not tell.
    """
    from huggingface_hub import HfApi, constants

    if is_offline():
        raise offline(repo)

    api = HfApi(endpoint=constants.ENDPOINT, library_name="ggufvlm", library_version=_version())
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    with explained(repo, revision):
        try:
            info = patiently(lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout))
            return _checked(repo, info)
        except http_error():
            raise
        except _NO_ANSWER as error:
            if type(error).__name__ == "HFValidationError":
                raise
            raise not_a_hub(repo) from error


def _checked(repo: str, info: Any) -> Repository:
    """The answer without what cannot be true: the client takes every number and text as it comes.

    Raises:
        ValueError, TypeError, AttributeError: it does not come from a Hub.
    """
    if not re.fullmatch(_COMMIT, info.sha) or not re.fullmatch(_REPO, info.id):
        raise ValueError
    license_name = str(getattr(info.card_data, "license", None) or "")
    return Repository(
        id=repo,
        commit=info.sha,
        files={part.name: part for part in map(_part, info.siblings) if part},
        moved_to=info.id if info.id.lower() != repo.lower() else None,
        license=license_name[:_LONGEST_NAME] if license_name.isprintable() and license_name else None,
    )


def _part(sibling: Any) -> FilePart | None:
    """A GGUF file that could lie in a folder; what cannot be its size or checksum counts as not known."""
    name = sibling.rfilename
    folders = name.replace("\\", "/").split("/")
    if not name.endswith(".gguf") or ":" in name or {"", ".", ".."} & set(folders) or not name.isprintable():
        return None
    if max(len(folder.encode()) for folder in folders) > _LONGEST_NAME:
        return None
    lfs = sibling.lfs
    size, sha256 = (lfs.size, lfs.sha256) if lfs else (sibling.size, None)
    return FilePart(
        name=name,
        size=size if type(size) is int and 0 < size < _LARGEST_FILE else None,
        sha256=sha256 if isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256) else None,
    )


def patiently(ask: Callable[[], _Answer], *, tries: int = 3) -> _Answer:
    """The answer of ``ask``, asked again where that may help; a network that is not there is not waited for."""
    for attempt in range(1, tries):
        try:
            return ask()
        except http_error() as error:
            if not is_transient(error) or is_unreachable(error):
                raise
            wait(error, attempt)
    return ask()


def wait(error: BaseException, attempt: int) -> None:
    """Sleep before the next try, as long as the server asks for."""
    asked = retry_after(error)
    delay = DELAYS[min(attempt, len(DELAYS)) - 1]
    time.sleep(min(max(delay, asked or 0), _LONGEST_WAIT))


def request_headers() -> dict[str, str]:
    """Headers of requests for bytes: who asks, the user's token, and no compression."""
    from huggingface_hub.utils import build_hf_headers

    headers: dict[str, str] = build_hf_headers(library_name="ggufvlm", library_version=_version())
    return {**headers, "Accept-Encoding": "identity"}


def file_url(repo: str, name: str, revision: str) -> str:
    """Where the Hub hands out a file.

    Args:
        repo: ``USER/REPO``.
        name: the file's, with its folders in the repository.
        revision: a commit or a branch.
    """
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, name, revision=revision)


def _version() -> str:
    from ggufvlm.version import __version__

    return __version__


class RemoteSource:
    """A file on the Hub as a :class:`~ggufvlm.gguf.header.ByteSource`, read by range requests."""

    def __init__(self, repo: str, name: str, revision: str) -> None:
        self._repo, self._name, self._revision = repo, name, revision
        self._total: int | None = None

    @cached_property
    def size(self) -> int:
        """Size of the whole file, learnt with its first bytes."""
        self._start = self._get(0, 1 << 16)
        if self._total is None:
            raise self._no_ranges()
        return self._total

    def read(self, offset: int, n: int) -> bytes:
        """``n`` bytes from ``offset``.

        Raises:
            DownloadError: the Hub did not hand them out.
        """
        end = min(offset + n, self.size)
        if end <= len(self._start):
            return self._start[offset:end]
        return self._get(offset, end - offset)

    def _get(self, offset: int, n: int) -> bytes:
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import hf_raise_for_status

        url = file_url(self._repo, self._name, self._revision)
        headers = {**request_headers(), "Range": f"bytes={offset}-{offset + n - 1}"}

        def ask() -> bytes:
            pieces: list[bytes] = []
            with get_session().stream(
                "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
            ) as response:
                if response.status_code >= 400:
                    response.read()
                hf_raise_for_status(response)
                self._total = _total(response)
                if offset and response.status_code != 206:
                    raise self._no_ranges()
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    if sum(map(len, pieces)) >= n:  # a server that ignores ranges would send all of it
                        break
            return b"".join(pieces)[:n]

        with explained(self._repo, self._name):
            return patiently(ask)

    def _no_ranges(self) -> DownloadError:
        return DownloadError(f"the Hub hands out no parts of {self._name}, so it cannot be looked into beforehand")


def _total(response: Any) -> int | None:
    if response.status_code == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        return _size(total)
    length = response.headers.get("Content-Length", "")
    # Whole answers serve as well where only the beginning is wanted.
    return _size(length)


def _size(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= 15 else None
