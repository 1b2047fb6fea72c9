"""Projector output by image: in RAM, bounded, least recently used first out; and on disk for later processes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ggufvlm.cache.store import Store, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_LIMIT = 256 * 2**20
LIMIT_BESIDE_DISK = 64 * 2**20
"""What is on disk comes back within milliseconds: no need to hold much of it."""
_LAYOUT = "float32 rows, 1"


class DiskEmbeddings:
    """Embeddings in a store: little-endian float32, so that what comes back is what was put, bit by bit.

    Args:
        store: where they are kept.
        identity: all but image and place that decides about the numbers: projector, library, budget, device.
        n_embd_inp: length of a row.
    """

    def __init__(self, store: Store, identity: Iterable[str], n_embd_inp: int) -> None:
        self._store = store
        self._identity = (_LAYOUT, *identity)
        self._n_embd_inp = n_embd_inp

    def get(self, image_id: str, ordinal: int, n_cells: int) -> NDArray[np.float32] | None:
        """The kept embeddings [n_cells, n_embd_inp], or ``None``.

        Args:
            image_id: identity of the image.
            ordinal: which of its pieces.
            n_cells: how many rows there are to be.
        """
        entry = self._store.get(self._key(image_id, ordinal, n_cells))
        shape = [n_cells, self._n_embd_inp]
        if entry is None or entry.meta.get("shape") != shape or entry.payload.nbytes != 4 * n_cells * self._n_embd_inp:
            return None
        import numpy as np

        rows = np.frombuffer(entry.payload, "<f4").reshape(shape).astype(np.float32, copy=False)
        return rows if np.isfinite(rows).all() else None

    def has(self, image_id: str, ordinal: int, n_cells: int) -> bool:
        """Whether there is something, which :meth:`get` may still find damaged.

        Args:
            image_id: identity of the image.
            ordinal: which of its pieces.
            n_cells: how many rows there are to be.
        """
        return self._store.contains(self._key(image_id, ordinal, n_cells))

    def put(self, image_id: str, ordinal: int, embeddings: NDArray[np.float32]) -> None:
        """Keep embeddings [n_cells, n_embd_inp], unless something went wrong in them."""
        import numpy as np

        rows = np.ascontiguousarray(embeddings, "<f4")
        if rows.ndim != 2 or rows.shape[1] != self._n_embd_inp or not rows.size or not np.isfinite(rows).all():
            return
        self._store.put(self._key(image_id, ordinal, len(rows)), {"shape": list(rows.shape)}, [rows.data])

    def _key(self, image_id: str, ordinal: int, n_cells: int) -> str:
        numbers = (ordinal, n_cells, self._n_embd_inp)
        return digest(*self._identity, image_id, *map(str, numbers))


class EmbeddingCache:
    """Embeddings [n_cells, n_embd_inp] by (image id, chunk ordinal).

    Args:
        limit: bytes to keep in RAM at most, less by default where there is a disk. Something larger than that alone
            is not kept there.
        disk: where they are kept as well.
    """

    def __init__(self, limit: int | None = None, disk: DiskEmbeddings | None = None) -> None:
        if limit is None:
            limit = DEFAULT_LIMIT if disk is None else LIMIT_BESIDE_DISK
        self._limit = limit
        self._disk = disk
        self._entries: OrderedDict[tuple[str, int], NDArray[np.float32]] = OrderedDict()
        self.n_bytes = 0

    def get(self, image_id: str, ordinal: int, n_cells: int | None = None) -> NDArray[np.float32] | None:
        """The kept embeddings, now the most recently used, or ``None``.

        Args:
            image_id: identity of the pixels and of everything that changes their tokens.
            ordinal: which of the image's chunks.
            n_cells: rows that there must be; without it the disk is not asked.
        """
        kept = self._entries.get((image_id, ordinal))
        if kept is not None and n_cells in (None, len(kept)):
            self._entries.move_to_end((image_id, ordinal))
            return kept
        if self._disk is None or n_cells is None:
            return None
        found = self._disk.get(image_id, ordinal, n_cells)
        if found is not None:
            self._keep(image_id, ordinal, found)
        return found

    def put(self, image_id: str, ordinal: int, embeddings: NDArray[np.float32]) -> None:
        """Keep embeddings, dropping the least recently used ones if they are too many."""
        self._keep(image_id, ordinal, embeddings)
        if self._disk is not None:
            self._disk.put(image_id, ordinal, embeddings)

    def _keep(self, image_id: str, ordinal: int, embeddings: NDArray[np.float32]) -> None:
        previous = self._entries.pop((image_id, ordinal), None)
        if previous is not None:
            self.n_bytes -= previous.nbytes
        if embeddings.nbytes > self._limit:
            return
        self._entries[image_id, ordinal] = embeddings
        self.n_bytes += embeddings.nbytes
        while self.n_bytes > self._limit:
            _, dropped = self._entries.popitem(last=False)
            self.n_bytes -= dropped.nbytes

    def __len__(self) -> int:
        return len(self._entries)
