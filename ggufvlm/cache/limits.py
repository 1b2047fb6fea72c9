"""What lies in the cache folder: how large each part may get, how large it is, and how it is emptied."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ggufvlm.cache.folder import cache_dir, private_folder
from ggufvlm.cache.store import Store
from ggufvlm.errors import ModelError, UsageError

logger = logging.getLogger(__name__)

LIMIT_VARIABLE = "GGUFVLM_CACHE_LIMIT"
"""The most that embeddings and snapshots may take together: ``500MB``, ``10GB``; 0 keeps nothing."""

STORES = {"embeddings": 1, "snapshots": 2}
"""The parts that are bounded, and their shares of the limit."""

PARTS = (*STORES, "projectors", "notes")
"""All folders in the cache."""

DEFAULT_LIMIT = 6 * 10**9
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class CachePart:
    """One folder of the cache.

    Attributes:
        count: entries, or files.
        n_bytes: what they take.
        limit: bytes at most; None if there is no limit.
    """

    name: str
    folder: Path
    count: int
    n_bytes: int
    limit: int | None


def parse_size(text: str) -> int | None:
    """Bytes of a size as people write it; ``None`` if it is not one.

    >>> parse_size("500MB"), parse_size("1.5 GiB"), parse_size("0"), parse_size("much")
    (500000000, 1610612736, 0, None)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def limit_of(name: str) -> int:
    """The most bytes that one of :data:`STORES` may take.

    Raises:
        UsageError: ``GGUFVLM_CACHE_LIMIT`` is not a size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    total = parse_size(text) if text else DEFAULT_LIMIT
    if total is None:
        raise UsageError(f"{LIMIT_VARIABLE}={text} is not a size", hint="500MB or 10GB; 0 keeps nothing")
    return total * STORES[name] // sum(STORES.values())


def open_store(name: str) -> Store | None:
    """One of :data:`STORES`; ``None`` if nothing is to be kept there, or nothing can be.

    Raises:
        UsageError: ``GGUFVLM_CACHE_LIMIT`` is not a size.
    """
    limit = limit_of(name)
    if limit == 0:
        return None
    try:
        return Store(private_folder(name), limit)
    except ModelError as error:
        logger.warning("no %s are kept: %s", name, error)
        return None


def measure() -> list[CachePart]:
    """All parts of the cache, whether there is something in them or not. Nothing is made.

    Raises:
        UsageError: ``GGUFVLM_CACHE_LIMIT`` is not a size.
    """
    return [_measured(name, limit_of(name) if name in STORES else None) for name in PARTS]


def _measured(name: str, limit: int | None) -> CachePart:
    folder = cache_dir() / name
    if name in STORES:
        count, n_bytes = Store(folder, 0).stats()
    else:
        sizes = [_size(path) for path in _files(folder)]
        count, n_bytes = len(sizes), sum(sizes)
    return CachePart(name=name, folder=folder, count=count, n_bytes=n_bytes, limit=limit)


def clear(names: Iterable[str]) -> int:
    """Empty parts of the cache; returns the bytes freed. What cannot be removed, or is in use on Windows, stays."""
    freed = 0
    for name in names:
        folder = cache_dir() / name
        freed += Store(folder, 0).clear() if name in STORES else sum(map(_remove, _files(folder)))
    return freed


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_symlink() or path.is_file()]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # gone
        return 0


def _remove(path: Path) -> int:
    size = _size(path)
    try:
        path.unlink()
    except OSError:
        return 0
    return size
