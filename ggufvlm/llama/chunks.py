"""libmtmd's input chunks: a prompt cut into text and images."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ggufvlm.errors import EngineError
from ggufvlm.llama.bindings import mtmd
from ggufvlm.llama.layout import ImagePiece

_TEXT, _IMAGE = 0, 1  # mtmd_input_chunk_type


@dataclass(frozen=True, slots=True)
class TextInput:
    """A piece of the prompt's text. Only pieces from a template have their special tokens parsed."""

    text: str
    parse_special: bool


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image at its place in the prompt. ``rgb`` may be left out to learn the counts without the pixels."""

    id: str
    width: int
    height: int
    rgb: bytes | None = None


@dataclass(frozen=True, slots=True)
class InputChunk:
    """One chunk; valid as long as its :class:`InputChunks`.

    Attributes:
        n_cells: KV cells it takes.
        n_pos: positions it takes; fewer than cells for an M-RoPE image.
        tokens: token ids of text, ``None`` for an image.
        image_id: the :class:`ImageInput`'s id, ``None`` for text.
        piece: of an image whose layout was known, so that libmtmd was not asked; there is no ``handle`` then.
    """

    handle: Any
    n_cells: int
    n_pos: int
    tokens: tuple[int, ...] | None
    image_id: str | None
    piece: ImagePiece | None = None


def text_chunk(tokens: tuple[int, ...]) -> InputChunk:
    """A chunk of text that libmtmd has no part in."""
    return InputChunk(None, len(tokens), len(tokens), tokens, None)


class InputChunks:
    """The chunks of one prompt, in order; owns the native lists of those that are libmtmd's."""

    def __init__(self, handle: Any, chunks: Iterable[InputChunk] | None = None) -> None:
        self._handles = [] if handle is None else [handle]
        self._chunks = list(chunks) if chunks is not None else _read_chunks(handle)

    def add(self, chunk: InputChunk) -> None:
        """Put a chunk that has no native side behind the others."""
        self._chunks.append(chunk)

    def take_over(self, other: InputChunks) -> None:
        """Put the chunks of another list behind these; they are freed with these."""
        self._chunks += other._chunks
        self._handles += other._handles
        other._chunks, other._handles = [], []

    def __iter__(self) -> Iterator[InputChunk]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def close(self) -> None:
        """Free the native lists. Safe to call twice."""
        if self._handles:
            self._chunks = []
        while self._handles:
            mtmd.mtmd_input_chunks_free(self._handles.pop())


def _read_chunks(handle: Any) -> list[InputChunk]:
    count = mtmd.mtmd_input_chunks_size(handle)
    return [_read_chunk(mtmd.mtmd_input_chunks_get(handle, index)) for index in range(count)]


def _read_chunk(handle: Any) -> InputChunk:
    kind = mtmd.mtmd_input_chunk_get_type(handle)
    if kind not in (_TEXT, _IMAGE):
        raise EngineError("the prompt holds a kind of media that is not supported")
    tokens, image_id = None, None
    if kind == _TEXT:
        count = ctypes.c_size_t()
        pointer = mtmd.mtmd_input_chunk_get_tokens_text(handle, ctypes.byref(count))
        tokens = tuple(pointer[: count.value])
    else:
        image_id = (mtmd.mtmd_input_chunk_get_id(handle) or b"").decode()
    return InputChunk(
        handle=handle,
        n_cells=mtmd.mtmd_input_chunk_get_n_tokens(handle),
        n_pos=mtmd.mtmd_input_chunk_get_n_pos(handle),
        tokens=tokens,
        image_id=image_id,
    )


def make_bitmap(image: ImageInput) -> Any:
    """A native bitmap, to be freed by the caller; libmtmd copies the pixels.

    Raises:
        EngineError: sides or pixel count do not make sense.
    """
    width, height, rgb = image.width, image.height, image.rgb
    if width <= 0 or height <= 0 or (rgb is not None and len(rgb) != width * height * 3):
        raise EngineError(f"an image of {width}x{height} pixels has the wrong amount of data")
    pixels = None if rgb is None else ctypes.cast(ctypes.c_char_p(rgb), ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd.mtmd_bitmap_init(width, height, pixels)
    if not bitmap:
        raise EngineError("out of memory for an image")
    mtmd.mtmd_bitmap_set_id(bitmap, image.id.encode())
    return bitmap
