"""A projector that is loaded only when an image has to be encoded, or has a size that was never seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from ggufvlm.errors import EngineError, ModelError
from ggufvlm.llama.chunks import ImageInput, InputChunk, InputChunks, TextInput, text_chunk
from ggufvlm.llama.layout import Layout, TextPiece
from ggufvlm.llama.projector import Projector
from ggufvlm.llama.vocab import Vocab

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Layouts(Protocol):
    """Layouts by size, kept for later processes."""

    def get(self, width: int, height: int) -> Layout | None: ...

    def put(self, width: int, height: int, layout: Layout) -> None: ...


class LazyProjector:
    """Does what a :class:`Projector` does. What it can tell without one, it does.

    Args:
        vocab: of the language model.
        projector: if it is loaded already.
        load: loads it.
        layouts: of sizes that were seen before.
    """

    def __init__(
        self, vocab: Vocab, projector: Projector | None, load: Callable[[], Projector], layouts: Layouts
    ) -> None:
        self._vocab = vocab
        self._projector = projector
        self._load = load
        self._layouts = layouts
        self._is_stopped = False

    @property
    def is_loaded(self) -> bool:
        return self._projector is not None

    @property
    def n_layers(self) -> int | None:
        """Layers of the encoder; ``None`` while it is not loaded, and where the file does not say."""
        return None if self._projector is None else self._projector.n_layers

    def _loaded(self) -> Projector:
        if self._projector is None:
            try:
                self._projector = self._load()
            except ModelError as error:
                raise EngineError(str(error), hint=error.hint) from error
            if self._is_stopped:
                self._projector.stop()
        return self._projector

    def tokenize(self, parts: Sequence[TextInput | ImageInput], *, add_special: bool) -> InputChunks:
        """As :meth:`Projector.tokenize`.

        Raises: as there, and what loading raises, as an EngineError.
        """
        if self._projector is None:
            layouts = self._known(parts)
            if layouts is not None:
                return InputChunks(None, _joined(self._pieces(parts, layouts, add_special=add_special)))
        projector = self._loaded()
        for part in parts:
            if isinstance(part, ImageInput) and self._layouts.get(part.width, part.height) is None:
                self._layouts.put(part.width, part.height, projector.layout(part.width, part.height))
        return projector.tokenize(parts, add_special=add_special)

    def _known(self, parts: Sequence[TextInput | ImageInput]) -> list[Layout] | None:
        images = [part for part in parts if isinstance(part, ImageInput)]
        if any(image.rgb is not None for image in images):
            return None
        layouts = [self._layouts.get(image.width, image.height) for image in images]
        return None if None in layouts else [layout for layout in layouts if layout is not None]

    def _pieces(
        self, parts: Sequence[TextInput | ImageInput], layouts: Sequence[Layout], *, add_special: bool
    ) -> Iterator[InputChunk]:
        """Chunk by chunk what ``mtmd_tokenizer`` of libmtmd gives: each text on its own, specials at the ends."""
        vocab, following = self._vocab, iter(layouts)
        if add_special and vocab.adds_bos:
            yield text_chunk((vocab.bos_id,))
        for part in parts:
            if isinstance(part, TextInput):
                yield text_chunk(tuple(vocab.tokenize(part.text, parse_special=part.parse_special)))
                continue
            for piece in next(following).pieces:
                if isinstance(piece, TextPiece):
                    yield text_chunk(piece.tokens)
                else:
                    yield InputChunk(None, piece.n_cells, piece.n_pos, None, part.id, piece)
        if add_special and vocab.adds_eos:
            yield text_chunk((vocab.eos_id,))

    def encode(self, chunk: InputChunk, on_layer: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """As :meth:`Projector.encode`."""
        return self._loaded().encode(chunk, on_layer)

    def is_causal(self, chunk: InputChunk) -> bool:
        """As :meth:`Projector.is_causal`."""
        return chunk.piece.is_causal if chunk.piece is not None else self._loaded().is_causal(chunk)

    def positions(self, chunk: InputChunk, start: int) -> NDArray[np.int32]:
        """As :meth:`Projector.positions`."""
        return chunk.piece.positions(start) if chunk.piece is not None else self._loaded().positions(chunk, start)

    def stop(self) -> None:
        """As :meth:`Projector.stop`."""
        self._is_stopped = True
        if self._projector is not None:
            self._projector.stop()

    def resume(self) -> None:
        """As :meth:`Projector.resume`."""
        self._is_stopped = False
        if self._projector is not None:
            self._projector.resume()

    def close(self) -> None:
        """Free the projector, if there is one. Safe to call twice."""
        if self._projector is not None:
            self._projector.close()


def _joined(chunks: Iterator[InputChunk]) -> list[InputChunk]:
    """Neighbouring texts as one, none of them empty."""
    joined: list[InputChunk] = []
    for chunk in chunks:
        if chunk.tokens is None:
            joined.append(chunk)
        elif joined and joined[-1].tokens is not None:
            joined[-1] = text_chunk(joined[-1].tokens + chunk.tokens)
        elif chunk.tokens:
            joined.append(chunk)
    return joined
