"""``llama_batch`` over numpy arrays: filled in microseconds, never allocated by the library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ggufvlm.llama.bindings import llama


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


class TokenBatch:
    """Rows of tokens: each with a position, a slot and whether its logits are wanted."""

    def __init__(self, capacity: int, n_slots: int) -> None:
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._slots_per_row = np.ones(capacity, np.int32)
        self._wants_logits = np.zeros(capacity, np.int8)
        self._slot_ids = np.arange(n_slots, dtype=np.int32)
        self._slot_addresses = self._slot_ids.ctypes.data + 4 * np.arange(n_slots, dtype=np.uint64)
        self._slot_pointers = np.zeros(capacity, np.uint64)
        native = self.native = llama.llama_batch()
        native.embd = None
        native.token = _pointer(self._tokens, ctypes.c_int32)
        native.pos = _pointer(self._positions, ctypes.c_int32)
        native.n_seq_id = _pointer(self._slots_per_row, ctypes.c_int32)
        native.seq_id = _pointer(self._slot_pointers, ctypes.POINTER(ctypes.c_int32))
        native.logits = _pointer(self._wants_logits, ctypes.c_int8)

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int], outputs: Sequence[bool]
    ) -> Any:
        """The native batch with these rows; valid until the next call.

        Args:
            tokens: token ids.
            positions: the position of each.
            slots: the slot of each.
            outputs: whether its logits are wanted.
        """
        count = len(tokens)
        self._tokens[:count] = tokens
        self._positions[:count] = positions
        self._slot_pointers[:count] = self._slot_addresses[list(slots)]
        self._wants_logits[:count] = outputs
        self.native.n_tokens = count
        return self.native


class EmbeddingBatch:
    """Rows of embeddings of one slot, without logits.

    Args:
        embeddings: float32 [rows, n_embd_inp].
        positions: int32 [sections, rows]; one section, or M-RoPE's four in the order t, y, x, z.
    """

    def __init__(self, embeddings: NDArray[np.float32], positions: NDArray[np.int32], slot: int) -> None:
        count = len(embeddings)
        self._embeddings = np.ascontiguousarray(embeddings, np.float32)
        self._positions = np.ascontiguousarray(positions, np.int32)
        self._slots_per_row = np.ones(count, np.int32)
        self._slot = np.array([slot], np.int32)
        self._slot_pointers = np.full(count, self._slot.ctypes.data, np.uint64)
        self._wants_logits = np.zeros(count, np.int8)
        native = self.native = llama.llama_batch()
        native.n_tokens = count
        native.token = None
        native.embd = _pointer(self._embeddings, ctypes.c_float)
        native.pos = _pointer(self._positions, ctypes.c_int32)
        native.n_seq_id = _pointer(self._slots_per_row, ctypes.c_int32)
        native.seq_id = _pointer(self._slot_pointers, ctypes.POINTER(ctypes.c_int32))
        native.logits = _pointer(self._wants_logits, ctypes.c_int8)
