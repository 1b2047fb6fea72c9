"""A context: the KV cache of all slots and the calls that compute into it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError
from ggufvlm.llama import log
from ggufvlm.llama.batch import EmbeddingBatch, TokenBatch
from ggufvlm.llama.bindings import llama
from ggufvlm.llama.model import Model

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
_CACHE_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
_NO_ROOM, _ABORTED = 1, 2  # llama_decode's return codes


class DecodeAborted(EngineError):  # noqa: N818 - reads as what happened
    """The abort flag was set while computing; the rows of the unfinished step are gone."""


class NoRoom(EngineError):  # noqa: N818
    """No free cells for this step; nothing has changed."""


class AbortFlag:
    """A byte that native code looks at between two operations, so that Ctrl-C needs no Python while computing.

    ``strlen`` of a buffer serves as the callback: non-empty means abort. Only the CPU backend asks.
    """

    def __init__(self) -> None:
        library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
        self._buffer = ctypes.create_string_buffer(8)
        self.callback = ctypes.cast(library.strlen, llama.ggml_abort_callback)
        self.data = ctypes.cast(self._buffer, ctypes.c_void_p)

    def set(self) -> None:
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        self._buffer[0] = b"\x00"

    @property
    def is_set(self) -> bool:
        return self._buffer[0] != b"\x00"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextShape:
    """How large a context is.

    Attributes:
        n_ctx: cells, over all slots; llama.cpp rounds up to 256.
        n_ubatch: rows computed at once; an image whose rows see each other has to fit.
        n_threads: CPU threads.
        n_slots: sequences at a time.
    """

    n_ctx: int
    n_ubatch: int
    n_threads: int
    n_slots: int = 1


OnNativeCall = Callable[[float, float], None]
"""Gets when a native call began and when it ended, in seconds of ``time.perf_counter``."""


class Context:
    """One KV cache, shared by all slots. Only one thread may use it at a time; the abort flag may be set from any.

    Attributes:
        on_native_call: told of each computation and each fetch of logits, which is where a GPU is waited for.
    """

    def __init__(self, model: Model, config: EngineConfig, abort: AbortFlag, shape: ContextShape) -> None:
        """Reserve a cache.

        Raises:
            EngineError: the cache or its compute buffers do not fit into memory.
        """
        log.forget()
        self._abort = abort  # native code looks at its buffer as long as the context lives
        params = llama.llama_context_default_params()
        params.n_ctx = shape.n_ctx
        params.n_batch = max(config.n_batch, shape.n_ubatch)
        params.n_ubatch = shape.n_ubatch
        params.n_seq_max = params.n_outputs_max = shape.n_slots
        params.n_threads = params.n_threads_batch = shape.n_threads
        params.flash_attn_type = FLASH_ATTENTION[config.flash_attention]
        params.type_k, params.type_v = _CACHE_TYPE[config.cache_type_k], _CACHE_TYPE[config.cache_type_v]
        params.kv_unified = params.swa_full = params.no_perf = True
        params.abort_callback, params.abort_callback_data = abort.callback, abort.data
        self._handle = llama.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise EngineError(
                log.explain(f"no context of {shape.n_ctx} tokens could be made"),
                hint="a smaller --ctx-size needs less memory",
            )
        self._memory = llama.llama_get_memory(self._handle)
        self.n_ctx: int = llama.llama_n_ctx(self._handle)
        self.n_batch: int = llama.llama_n_batch(self._handle)
        self.n_ubatch: int = llama.llama_n_ubatch(self._handle)
        self.shape = shape
        self._batch = TokenBatch(self.n_batch, shape.n_slots)
        self._n_vocab = model.vocab.size
        self.on_native_call: OnNativeCall | None = None

    @property
    def handle(self) -> Any:
        """The native pointer, for this folder only."""
        if self._handle is None:
            raise EngineError("the context is closed")
        return self._handle

    def decode_tokens(
        self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int], outputs: Sequence[bool]
    ) -> None:
        """Compute token rows, at most ``n_batch`` of them; rows with ``outputs`` get logits.

        Args:
            tokens: token ids.
            positions: the position of each.
            slots: the slot of each.
            outputs: whether its logits are wanted.

        Raises:
            DecodeAborted: the abort flag was set.
            NoRoom: the cache has no free cells.
            EngineError: llama.cpp failed.
        """
        if not 0 < len(tokens) <= self.n_batch:
            raise EngineError(f"a step of {len(tokens)} tokens does not fit into a batch of {self.n_batch}")
        self._decode(self._batch.fill(tokens, positions, slots, outputs))

    def decode_embeddings(
        self, embeddings: NDArray[np.float32], positions: NDArray[np.int32], slot: int, *, causal: bool
    ) -> None:
        """Compute rows of one image: ``embeddings`` [rows, n_embd_inp], ``positions`` [sections, rows].

        Args:
            embeddings: float32 [rows, n_embd_inp].
            positions: int32 [sections, rows].
            slot: the slot of all rows.
            causal: whether a row sees only those before it.

        Raises: as :meth:`decode_tokens`.
        """
        limit = self.n_batch if causal else min(self.n_batch, self.n_ubatch)
        if not 0 < len(embeddings) <= limit:
            raise EngineError(f"an image step of {len(embeddings)} rows does not fit into a batch of {limit}")
        batch = EmbeddingBatch(embeddings, positions, slot)
        if causal:
            self._decode(batch.native)
            return
        llama.llama_set_causal_attn(self.handle, False)
        try:
            self._decode(batch.native)
        finally:
            llama.llama_set_causal_attn(self.handle, True)

    def _decode(self, batch: Any) -> None:
        log.forget()
        began = time.perf_counter()
        code = llama.llama_decode(self.handle, batch)
        if self.on_native_call is not None:
            self.on_native_call(began, time.perf_counter())
        if code == _ABORTED:
            raise DecodeAborted("aborted")
        if code == _NO_ROOM:
            raise NoRoom("the context has no room for this step")
        if code != 0:
            raise EngineError(log.explain(f"llama.cpp failed to compute a step (code {code})"))

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits [n_vocab] of a row of the last token step: a view, valid until the next step."""
        began = time.perf_counter()
        pointer = llama.llama_get_logits_ith(self.handle, row)
        if self.on_native_call is not None:
            self.on_native_call(began, time.perf_counter())
        if not pointer:
            raise EngineError(f"row {row} has no logits")
        return np.ctypeslib.as_array(pointer, shape=(self._n_vocab,))

    def cut(self, slot: int, position: int) -> bool:
        """Drop the slot's cells from ``position`` on; False if this kind of memory cannot (nothing changed)."""
        return bool(llama.llama_memory_seq_rm(self._memory, slot, position, -1))

    def clear(self, slot: int) -> None:
        """Drop all cells of a slot."""
        llama.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def copy(self, source: int, target: int) -> None:
        """Let the empty slot ``target`` share all cells of ``source``; recurrent state is copied."""
        llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def export_all(self) -> bytes | None:
        """The cells of all slots, for :meth:`import_all` of a larger context of the same model and settings."""
        size = llama.llama_state_get_size(self.handle)
        return _filled(size, lambda buffer: llama.llama_state_get_data(self.handle, buffer, size))

    def import_all(self, state: bytes) -> bool:
        """Fill an empty context from :meth:`export_all`; False leaves it empty."""
        return bool(llama.llama_state_set_data(self.handle, _native(state), len(state)))

    def export_slot(self, slot: int, *, only_recurrent: bool = False) -> bytes | None:
        """The slot's cells as bytes for :meth:`import_slot` of a context of the same model and settings.

        Args:
            slot: whose.
            only_recurrent: just the state of recurrent layers, which are rewound with it.
        """
        flags = int(only_recurrent)  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        size = llama.llama_state_seq_get_size_ext(self.handle, slot, flags)
        return _filled(size, lambda buffer: llama.llama_state_seq_get_data_ext(self.handle, buffer, size, slot, flags))

    def import_slot(self, slot: int, state: bytes | memoryview, *, only_recurrent: bool = False) -> bool:
        """Fill an empty slot from :meth:`export_slot`; False leaves it empty.

        Args:
            slot: an empty slot.
            state: from :meth:`export_slot`.
            only_recurrent: whether it holds the recurrent layers alone.
        """
        flags = int(only_recurrent)
        return bool(llama.llama_state_seq_set_data_ext(self.handle, _native(state), len(state), slot, flags))

    def size_of_slot(self, slot: int) -> int:
        """Bytes that :meth:`export_slot` would give."""
        return int(llama.llama_state_seq_get_size_ext(self.handle, slot, 0))

    def position_range(self, slot: int) -> tuple[int, int]:
        """The lowest and highest position in a slot's cells, -1 if it is empty (M-RoPE: an image has its first)."""
        lowest, highest = llama.llama_memory_seq_pos_min, llama.llama_memory_seq_pos_max
        return int(lowest(self._memory, slot)), int(highest(self._memory, slot))

    def close(self) -> None:
        """Free the cache. Safe to call twice."""
        if self._handle is not None:
            llama.llama_free(self._handle)
            self._handle = None


def _filled(size: int, write: Callable[[Any], int]) -> bytes | None:
    buffer = (ctypes.c_uint8 * size)()
    written = write(buffer)
    return bytes(memoryview(buffer)[:written]) if written else None


def _native(state: bytes | memoryview) -> Any:
    return (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
