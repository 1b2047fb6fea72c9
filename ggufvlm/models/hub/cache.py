"""The user's ordinary Hub cache on disk: what lies in it, found without a request, and taken out again.

::

    HF_HUB_CACHE/models--USER--REPO/refs/main                   a commit
                                   /blobs/SHA256                the bytes, named by their checksum
                                   /blobs/SHA256.incomplete     as far as they have come
                                   /snapshots/COMMIT/FILE       a link to a blob; where links do not work, the bytes
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ggufvlm.models.schema import FilePart, ModelFile

_SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """The Hub cache: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repo_folder(repo: str) -> Path:
    """Where the cache keeps a model repository."""
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def snapshot_path(repo: str, revision: str, name: str) -> Path:
    """Where a file of a commit lies, if it is there.

    Args:
        repo: ``USER/REPO``.
        revision: the commit, 40 hexadecimal digits.
        name: the file's, with its folders in the repository.
    """
    return repo_folder(repo) / "snapshots" / revision / name


def blob_path(repo: str, checksum: str) -> Path:
    """Where the bytes with this checksum lie, if they are there."""
    return repo_folder(repo) / "blobs" / checksum


def partial_path(repo: str, checksum: str) -> Path:
    """Where these bytes lie as long as they are not all there."""
    return repo_folder(repo) / "blobs" / f"{checksum}.incomplete"


def partial_size(repo: str, checksum: str | None) -> int:
    """How many of these bytes an interrupted download has left."""
    try:
        return partial_path(repo, checksum).stat().st_size if checksum else 0
    except OSError:
        return 0


def snapshots(repo: str) -> list[str]:
    """Commits of which files lie on this machine: the main branch's first, then the newest."""
    folder = repo_folder(repo)
    try:
        found = sorted((path for path in (folder / "snapshots").iterdir() if path.is_dir()), key=_age)
    except OSError:
        return []
    main = main_commit(repo)
    return sorted((path.name for path in found), key=lambda name: name != main)


def main_commit(repo: str) -> str | None:
    """The commit that the main branch had when somebody last asked."""
    try:
        return (repo_folder(repo) / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def locate(file: ModelFile) -> list[Path] | None:
    """The paths of a file's parts, all of one commit, if they lie on this machine.

    A pinned file is taken from another commit only if its blob carries the right checksum.
    """
    if file.repo is None:
        return None
    if file.revision is not None:
        paths = [snapshot_path(file.repo, file.revision, part.name) for part in file.parts]
        if all(path.is_file() for path in paths):
            return paths
    for commit in snapshots(file.repo):
        paths = [snapshot_path(file.repo, commit, part.name) for part in file.parts]
        if all(path.is_file() for path in paths) and (file.revision is None or _are(paths, file)):
            return paths
    return None


def _are(paths: list[Path], file: ModelFile) -> bool:
    return all(part.sha256 == checksum_of(path) is not None for path, part in zip(paths, file.parts, strict=True))


def checksum_of(path: Path) -> str | None:
    """The sha256 that the cache's own name for a file promises; None where links do not work."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if _SHA256.fullmatch(name) else None


def origin_of(path: Path) -> tuple[str, str, str] | None:
    """Repository, commit and name of a file in the cache; None for a path elsewhere."""
    if not path.is_relative_to(cache_folder()):
        return None
    found = re.fullmatch(r"models--(.+)/snapshots/([^/]+)/(.+)", path.relative_to(cache_folder()).as_posix())
    return (found[1].replace("--", "/", 1), found[2], found[3]) if found else None


def cached_parts(repo: str, commit: str) -> list[FilePart]:
    """The GGUF files of a commit that lie on this machine."""
    from ggufvlm.models.hub.select import as_parts

    folder = repo_folder(repo) / "snapshots" / commit
    paths = (path for path in folder.rglob("*.gguf") if path.is_file())
    return as_parts({path.relative_to(folder).as_posix(): path.stat().st_size for path in paths})


def cached_repos() -> Iterator[str]:
    """Model repositories with a GGUF file on this machine, by name."""
    for folder in sorted(cache_folder().glob("models--*--*")):
        if next(folder.glob("snapshots/**/*.gguf"), None) is not None:
            yield folder.name.removeprefix("models--").replace("--", "/", 1)


def link(blob: Path, pointer: Path) -> None:
    """Give a blob its name in a snapshot, as the Hub's client does: a relative link, or the bytes themselves."""
    from huggingface_hub.file_download import are_symlinks_supported

    pointer.parent.mkdir(parents=True, exist_ok=True)
    if not are_symlinks_supported(cache_folder()):
        blob.replace(pointer)
        return
    new = pointer.with_name(f"{pointer.name}.{os.getpid()}.link")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(blob, pointer.parent))
    new.replace(pointer)


def remember_main(repo: str, commit: str) -> None:
    """Record what the main branch was, as the Hub's client does."""
    ref = repo_folder(repo) / "refs" / "main"
    if main_commit(repo) == commit:
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    new = ref.with_name(f"main.{os.getpid()}.tmp")
    new.write_text(commit, encoding="ascii")
    new.replace(ref)


def remove(paths: Iterable[Path]) -> int:
    """Take files out of the cache, with the client's own deletion strategies; the number of bytes that became free.

    What other tools have put beside them stays. A blob goes when no other file links to it, a commit when nothing of
    it is left.
    """
    entries = {Path(os.path.realpath(path.parent)) / path.name for path in paths}
    sizes = {path.resolve(): path.stat().st_size for path in entries if path.is_file()}
    _remove_files(entries)
    for path in entries:  # the client does not look into a repository with a broken link
        if path.is_symlink() or path.exists():
            _remove_entry(path)
    _remove_empty_commits(entries)
    return sum(size for path, size in sizes.items() if not path.exists())


def _remove_files(entries: set[Path]) -> None:
    info = _scan()
    files = [file for repo in info.repos for rev in repo.revisions for file in rev.files if file.file_path in entries]
    if hasattr(info, "delete_files"):  # since huggingface_hub 2; it knows of blobs that several repositories share
        info.delete_files(*files).execute()
        return
    from huggingface_hub.utils import DeleteCacheStrategy

    others = {f.blob_path for repo in info.repos for rev in repo.revisions for f in rev.files if f not in files}
    strategy = DeleteCacheStrategy(
        expected_freed_size=0,
        blobs=frozenset({file.blob_path for file in files} - others - entries),
        refs=frozenset(),
        repos=frozenset(),
        snapshots=frozenset(file.file_path for file in files),
    )
    strategy.execute()


def _remove_entry(path: Path) -> None:
    blob = Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else None
    path.unlink()
    if blob is None:
        return
    folder = blob.parent.parent / "snapshots"
    if not any(os.path.realpath(other) == str(blob) for other in folder.rglob("*") if other.is_symlink()):
        blob.unlink(missing_ok=True)


def _remove_empty_commits(entries: set[Path]) -> None:
    empty = [
        revision.commit_hash
        for repo in _scan().repos
        for revision in repo.revisions
        if not revision.files
        and any(revision.snapshot_path in path.parents for path in entries)
        and not any((repo.repo_path / "blobs").glob("*.incomplete"))  # somebody is about to put files there
    ]
    if empty:
        _scan().delete_revisions(*empty).execute()


def _scan() -> Any:
    from huggingface_hub import scan_cache_dir

    return scan_cache_dir(cache_folder())
