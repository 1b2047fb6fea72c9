"""Projector output by picture, in RAM: bounded, least recently used first out."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_LIMIT = 256 * 2**20


class EmbeddingCache:
    """Embeddings [n_cells, n_embd_inp] by (picture id, chunk ordinal).

    Args:
        limit: bytes to keep at most. Something larger than that alone is not kept.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._entries: OrderedDict[tuple[str, int], NDArray[np.float32]] = OrderedDict()
        self.n_bytes = 0

    def get(self, picture_id: str, ordinal: int) -> NDArray[np.float32] | None:
        """The kept embeddings, now the most recently used, or ``None``."""
        key = (picture_id, ordinal)
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, picture_id: str, ordinal: int, embeddings: NDArray[np.float32]) -> None:
        """Keep embeddings, dropping the least recently used ones if they are too many."""
        previous = self._entries.pop((picture_id, ordinal), None)
        if previous is not None:
            self.n_bytes -= previous.nbytes
        if embeddings.nbytes > self._limit:
            return
        self._entries[picture_id, ordinal] = embeddings
        self.n_bytes += embeddings.nbytes
        while self.n_bytes > self._limit:
            _, dropped = self._entries.popitem(last=False)
            self.n_bytes -= dropped.nbytes

    def __len__(self) -> int:
        return len(self._entries)
