"""The projector (mmproj): prompts into input chunks, images into embeddings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ggufvlm.config import EngineConfig
from ggufvlm.errors import EngineError, PairingError
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.writer import read_tensor
from ggufvlm.llama import log
from ggufvlm.llama.bindings import llama, mtmd
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.llama.chunks import ImageInput, InputChunk, InputChunks, TextInput, make_bitmap
from ggufvlm.llama.context import FLASH_ATTENTION
from ggufvlm.llama.layout import ImagePiece, Layout, Piece, TextPiece
from ggufvlm.llama.model import LoadWatch, Model

_LINE_END = "v.token_embd.img_break"
_QWEN_DEFAULT_MIN, _QWEN_DEFAULT_MAX = 8, 4096


class EncodeAborted(EngineError):  # noqa: N818 - reads as what happened
    """Encoding an image was stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenBudget:
    """Bounds of an image's tokens that libmtmd applies when it resizes; ``None`` is the projector's own."""

    minimum: int | None = None
    maximum: int | None = None


class Projector:
    """A vision projector bound to a language model. Only one thread may encode at a time.

    libmtmd asks the language model for its vocabulary and width only, so a skeleton
    (:meth:`~ggufvlm.llama.model.Model.skeleton`) serves as well as the model itself; it is closed with the projector.
    """

    def __init__(
        self,
        path: Path,
        model: Model,
        config: EngineConfig,
        budget: TokenBudget,
        n_threads: int,
        *,
        drops_last_row: bool = False,
        cancel: CancelToken | None = None,
    ) -> None:
        """Load the projector.

        Args:
            path, model, config, budget, n_threads: what to load, and how to compute.
            drops_last_row: the last row of each image is no patch; its left neighbour takes its place.
            cancel: stops loading.

        Raises:
            PairingError: libmtmd refuses the file, or refuses it together with this model.
            LoadAborted: ``cancel`` was cancelled.
        """
        log.forget()
        self._path = path
        self._model = model
        self._handle: Any = None
        self._n_embd_inp = model.n_embd_inp
        self._drops_last_row = drops_last_row
        self._stop_requested = False
        self._on_layer: Callable[[int], None] | None = None
        self._layers_done = 0
        self._error: BaseException | None = None
        self._eval_callback = llama.ggml_backend_sched_eval_callback(self._watch)  # the library keeps the pointer
        self._tensor_name = _tensor_name_function()
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = config.mmproj_offload
        params.n_threads = n_threads
        params.print_timings = params.warmup = False
        params.flash_attn_type = FLASH_ATTENTION[config.flash_attention]
        params.image_min_tokens = budget.minimum or -1
        params.image_max_tokens = budget.maximum or -1
        params.cb_eval = self._eval_callback
        watch = LoadWatch(None, cancel)
        callback = params.progress_callback = mtmd.mtmd_progress_callback(watch)
        self._handle = mtmd.mtmd_init_from_file(os.fsencode(path), model.handle, params)
        del callback
        watch.raise_if_stopped()
        if not self._handle:
            raise PairingError(log.explain(f"{path.name}: llama.cpp cannot use this projector with {model.path.name}"))
        if not mtmd.mtmd_support_vision(self._handle):
            self.close()
            raise PairingError(f"{path.name}: this projector reads no images")
        self.uses_mrope = bool(mtmd.mtmd_decode_use_mrope(self._handle))
        self.n_layers = read_header(path).integer("clip.vision.block_count")

    is_loaded = True

    def tokenize(self, parts: Sequence[TextInput | ImageInput], *, add_special: bool) -> InputChunks:
        """Split a prompt into chunks. An image without pixels gives chunks of the same counts, in microseconds.

        Raises:
            EngineError: libmtmd refuses an image (for instance one that is far too flat).
        """
        log.forget()
        keep_alive: list[Any] = []
        bitmaps: list[Any] = []
        array = (ctypes.POINTER(mtmd.mtmd_input_part) * len(parts))()
        for index, part in enumerate(parts):
            native = mtmd.mtmd_input_part()
            if isinstance(part, TextInput):
                data = part.text.encode("utf-8", "replace")
                text = mtmd.mtmd_input_text(data, len(data), False, part.parse_special)
                keep_alive += [data, text]
                native.text = ctypes.pointer(text)
            else:
                native.bitmap = make_bitmap(part)
                bitmaps.append(native.bitmap)
            keep_alive.append(native)
            array[index] = ctypes.pointer(native)
        chunks = mtmd.mtmd_input_chunks_init()
        code = mtmd.mtmd_tokenize_from_parts(self._handle, chunks, array, len(parts), add_special)
        for bitmap in bitmaps:
            mtmd.mtmd_bitmap_free(bitmap)
        if code != 0:
            mtmd.mtmd_input_chunks_free(chunks)
            raise EngineError(log.explain("llama.cpp could not prepare the prompt"))
        return InputChunks(chunks)

    def encode(self, chunk: InputChunk, on_layer: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """Embeddings [n_cells, n_embd_inp] of an image chunk that has pixels.

        Args:
            chunk: from :meth:`tokenize` of an image with pixels.
            on_layer: called with the number of finished layers while encoding.

        Raises:
            EncodeAborted: :meth:`stop` was called meanwhile.
            EngineError: libmtmd failed, or gave numbers that are none.
        """
        log.forget()
        self._on_layer, self._layers_done, self._error = on_layer, 0, None
        code = mtmd.mtmd_encode_chunk(self._handle, chunk.handle)
        if self._error is not None:
            raise self._error
        if self._stop_requested:
            raise EncodeAborted("encoding was stopped")
        if code != 0:
            raise EngineError(log.explain("llama.cpp could not encode the image"))
        pointer = mtmd.mtmd_get_output_embd(self._handle)
        shape = (chunk.n_cells, self._n_embd_inp)
        embeddings: NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape=shape).copy()  # the next one reuses it
        if self._drops_last_row and chunk.n_cells > 1:
            embeddings[-1] = embeddings[-2]
        is_broken = ~np.isfinite(embeddings).all(axis=1)
        if is_broken.any():
            embeddings[is_broken] = self._line_end()
        return embeddings

    def _line_end(self) -> NDArray[np.float32]:
        """The embedding that stands at the end of each line of patches (Pixtral's [IMG_BREAK]).

        This llama.cpp makes these rows of memory that it has not written before, times zero (``pixtral.cpp``), so
        that what lay there before may turn them into numbers that are none.

        Raises:
            EngineError: this projector has no such rows, so its numbers are wrong for another reason.
        """
        header = read_header(self._path)
        tensor = header.tensors.get(_LINE_END)
        if tensor is None or tensor.ggml_type != 0:
            raise EngineError(f"{self._path.name}: llama.cpp computed an image to numbers that are none")
        return np.frombuffer(read_tensor(self._path, header, tensor), np.float32)

    def stop(self) -> None:
        """Make a running or the next :meth:`encode` end at the next layer. From any thread."""
        self._stop_requested = True

    def resume(self) -> None:
        """Take back :meth:`stop`."""
        self._stop_requested = False

    def _watch(self, tensor: Any, ask: bool, _user_data: object) -> bool:
        """libmtmd's look at each operation: which results to wait for, and whether to go on after one of them."""
        if ask:
            return bool(self._tensor_name(tensor).startswith(b"layer_out"))
        self._layers_done += 1
        try:
            if self._on_layer is not None:
                self._on_layer(self._layers_done)
        except BaseException as error:  # noqa: BLE001 - raised again after the native call, which cannot pass it on
            self._error = error
            return False
        return not self._stop_requested

    def is_causal(self, chunk: InputChunk) -> bool:
        """Whether the rows of this image look only at rows before them."""
        if chunk.piece is not None:
            return chunk.piece.is_causal
        return not mtmd.mtmd_decode_use_non_causal(self._handle, chunk.handle)

    def positions(self, chunk: InputChunk, start: int) -> NDArray[np.int32]:
        """Positions [sections, n_cells] of an image chunk that begins at ``start``."""
        if chunk.piece is not None:
            return chunk.piece.positions(start)
        count = chunk.n_cells
        if not self.uses_mrope:
            return np.arange(start, start + count, dtype=np.int32)[np.newaxis]
        native = (mtmd.mtmd_decoder_pos * count)()
        image_tokens = mtmd.mtmd_input_chunk_get_tokens_image(chunk.handle)
        mtmd.mtmd_helper_image_get_decoder_pos(image_tokens, start, native)
        t, x, y, z = np.frombuffer(native, np.uint32).reshape(count, 4).astype(np.int32).T
        return np.stack([t, y, x, z])

    def layout(self, width: int, height: int) -> Layout:
        """What becomes of an image of that size.

        Raises:
            EngineError: libmtmd refuses the size.
        """
        chunks = self.tokenize([ImageInput("0", width, height)], add_special=False)
        pieces = tuple(self._piece(chunk) for chunk in chunks)
        chunks.close()
        return Layout(pieces, self._n_embd_inp)

    def _piece(self, chunk: InputChunk) -> Piece:
        if chunk.tokens is not None:
            return TextPiece(chunk.tokens)
        offsets = self.positions(chunk, 0)
        return ImagePiece(
            n_cells=chunk.n_cells,
            n_pos=chunk.n_pos,
            is_causal=self.is_causal(chunk),
            offsets=offsets,
            slopes=self.positions(chunk, 1) - offsets,
        )

    def close(self) -> None:
        """Free the projector. Safe to call twice."""
        if self._handle is not None:
            mtmd.mtmd_free(self._handle)
            self._handle = None
        if self._model.is_skeleton:
            self._model.close()


def _tensor_name_function() -> Any:
    # through libllama's handle: the ggml library beside it would be loaded a second time, with its own registry
    function = llama._lib.ggml_get_name  # noqa: SLF001 - the binding offers no other way
    function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    return function
