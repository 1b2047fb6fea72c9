"""Step plans to llama.cpp and back: the only file of engine/ that calls llama/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from ggufvlm.config import EngineConfig
from ggufvlm.engine.embedding_cache import EmbeddingCache
from ggufvlm.engine.request import ImagePart, Part, Request, TextPart, TokensPart, merge_text
from ggufvlm.engine.scheduler import TokenRow
from ggufvlm.engine.sequence import ImageSegment, Segment, TextSegment, append_tokens
from ggufvlm.engine.thoughts import ThoughtSplitter
from ggufvlm.errors import EngineError, UsageError
from ggufvlm.llama.chunks import ImageInput, InputChunk, InputChunks, TextInput, text_chunk
from ggufvlm.llama.context import AbortFlag, Context, ContextShape, OnNativeCall
from ggufvlm.llama.lazy_projector import LazyProjector
from ggufvlm.llama.model import Model
from ggufvlm.llama.projector import Projector
from ggufvlm.llama.sampler import GivenTokens, Sampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OnLayer = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenized prompt: segments, and for each image segment its native chunk and its part.

    Attributes:
        cells: what each image takes, by its place among the images; what its text takes under -1.
        n_rows_together: rows of the largest image whose rows look at each other.
    """

    segments: tuple[Segment, ...]
    chunks: InputChunks
    images: dict[int, tuple[InputChunk, ImagePart]]
    cells: Counter[int]
    n_rows_together: int

    def close(self) -> None:
        """Free the native chunks."""
        self.chunks.close()


class Runner:
    """Owns model, projector and context. One thread only; :meth:`interrupt` may come from any."""

    def __init__(
        self,
        model: Model,
        projector: Projector | LazyProjector,
        config: EngineConfig,
        *,
        n_threads: int,
        embeddings: EmbeddingCache | None = None,
    ) -> None:
        self.model = model
        self.projector = projector
        self._config = config
        self._n_threads = n_threads
        self._abort = AbortFlag()
        self._context: Context | None = None
        self._on_native_call: OnNativeCall | None = None
        self._embeddings = EmbeddingCache() if embeddings is None else embeddings
        self._open_image: tuple[str, InputChunks] | None = None

    # -- prompts

    def tokenize(self, request: Request) -> Prompt:
        """Segments of a request. No pixels are touched.

        Raises:
            UsageError: the prompt does not end with text, or holds a token that the model does not have.
            EngineError: an image has sides the projector cannot take.
        """
        images: list[ImagePart] = []
        chunks = InputChunks(None, [])
        try:
            for is_tokens, parts in groupby(
                merge_text(request.parts, self.model.vocab.control_tokens), lambda part: isinstance(part, TokensPart)
            ):
                if is_tokens:
                    chunks.add(text_chunk(self._known_tokens(parts)))
                else:
                    inputs = self._inputs(parts, images)
                    chunks.take_over(self.projector.tokenize(inputs, add_special=request.add_special))
        except BaseException:
            chunks.close()
            raise
        prompt = self._prompt(chunks, images)
        if not prompt.segments or not isinstance(prompt.segments[-1], TextSegment):
            prompt.close()
            raise UsageError("the prompt needs some text after the last image")
        return prompt

    def _inputs(self, parts: Iterable[Part], images: list[ImagePart]) -> list[TextInput | ImageInput]:
        """The parts as libmtmd takes them; their images are put behind ``images``."""
        inputs: list[TextInput | ImageInput] = []
        for part in parts:
            if isinstance(part, TextPart):
                pieces = self.model.vocab.pieces(part.text, parse_special=part.trusted)
                inputs += [TextInput(piece, part.trusted) for piece in pieces]
            elif isinstance(part, ImagePart):
                # its place is its native id, so that the same image twice is told apart
                inputs.append(ImageInput(str(len(images)), part.width, part.height))
                images.append(part)
        return inputs

    def _known_tokens(self, parts: Iterable[Part]) -> tuple[int, ...]:
        """Raises: UsageError, llama.cpp would end the process for one that it does not know."""
        tokens = tuple(token for part in parts if isinstance(part, TokensPart) for token in part.tokens)
        size = self.model.vocab.size
        unknown = next((token for token in tokens if not 0 <= token < size), None)
        if unknown is not None:
            raise UsageError(f"{unknown} is no token of this model, which has {size}")
        return tokens

    def _prompt(self, chunks: InputChunks, images: list[ImagePart]) -> Prompt:
        segments: list[Segment] = []
        by_index: dict[int, tuple[InputChunk, ImagePart]] = {}
        tiles: Counter[str] = Counter()
        cells: Counter[int] = Counter()
        n_rows_together = 0
        for chunk in chunks:
            cells[-1 if chunk.tokens is not None else int(chunk.image_id or "0")] += chunk.n_cells
            if chunk.tokens is not None:
                append_tokens(segments, chunk.tokens)
                continue
            place = chunk.image_id or "0"
            part = images[int(place)]
            by_index[len(segments)] = (chunk, part)
            segments.append(ImageSegment(part.id, tiles[place], chunk.n_cells, chunk.n_pos))
            tiles[place] += 1
            if not self.projector.is_causal(chunk):
                n_rows_together = max(n_rows_together, chunk.n_cells)
        return Prompt(tuple(segments), chunks, by_index, cells, n_rows_together)

    # -- context

    @property
    def n_ctx(self) -> int:
        """Cells of the present context, 0 before there is one."""
        return self._context.n_ctx if self._context else 0

    @property
    def context(self) -> Context:
        if self._context is None:
            raise EngineError("there is no context yet")
        return self._context

    def ensure_context(self, n_cells: int, n_rows_together: int = 0) -> bool:
        """Make the context large enough; returns whether the cells in it are still there.

        Raises:
            EngineError: there is no memory for it; the context is then as it was.
        """
        old = self._context
        wanted = ContextShape(
            n_ctx=n_cells,
            n_ubatch=max(self._config.n_ubatch, n_rows_together),
            n_threads=self._n_threads,
            n_slots=self._config.n_slots,
        )
        if old is None:
            self._context = self._make_context(wanted)
            return False
        if old.n_ctx >= n_cells and old.n_ubatch >= n_rows_together:
            return True
        wanted = replace(wanted, n_ctx=max(n_cells, old.n_ctx), n_ubatch=max(wanted.n_ubatch, old.n_ubatch))
        state = old.export_all()
        old.close()  # before the new one is made: two large caches may not fit side by side
        self._context = None
        try:
            self._context = self._make_context(wanted)
        except EngineError:
            self._context = self._make_context(old.shape)
            if state is not None:
                self._context.import_all(state)
            raise
        return state is not None and self._context.import_all(state)

    def _make_context(self, shape: ContextShape) -> Context:
        context = Context(self.model, self._config, self._abort, shape)
        context.on_native_call = self._on_native_call
        return context

    def time_native_calls(self, told: OnNativeCall | None) -> None:
        """See :meth:`Engine.time_native_calls`."""
        self._on_native_call = told
        if self._context is not None:
            self._context.on_native_call = told

    def cut(self, slot: int, position: int) -> bool:
        """Drop a slot's cells from ``position`` on; where that is not possible all of them, and return False."""
        if self._context is None or self._context.cut(slot, position):
            return True
        self._context.clear(slot)
        return False

    def clear(self, slot: int) -> None:
        """Drop all cells of a slot."""
        if self._context is not None:
            self._context.clear(slot)

    def share(self, source: int, target: int, position: int) -> None:
        """Let a slot begin with the cells of another up to ``position``; where memory cannot be cut, with all.

        Args:
            source: the slot that has the cells.
            target: an empty slot.
            position: where the shared part ends.
        """
        self.context.clear(target)
        self.context.copy(source, target)
        if self.model.can_cut_memory:
            self.context.cut(target, position)

    def export_slot(self, slot: int, *, only_recurrent: bool = False) -> bytes | None:
        """A slot's cells as bytes; see :meth:`Context.export_slot`."""
        return self.context.export_slot(slot, only_recurrent=only_recurrent)

    def size_of_slot(self, slot: int) -> int:
        """Bytes that :meth:`export_slot` would give."""
        return self.context.size_of_slot(slot)

    def import_slot(self, slot: int, state: bytes | memoryview) -> bool:
        """Put exported cells into a slot in place of its own; False leaves it empty."""
        self.context.clear(slot)
        if self.context.import_slot(slot, state):
            return True
        self.context.clear(slot)
        return False

    def rewind(self, slot: int, state: bytes, position: int) -> bool:
        """Take a slot with recurrent layers back to ``position``, where ``state`` of these was exported.

        False leaves it empty.

        Args:
            slot: the slot.
            position: where it is to end.
            state: of its recurrent layers, exported there.
        """
        if self.context.import_slot(slot, state, only_recurrent=True) and self.context.cut(slot, position):
            return True
        self.context.clear(slot)
        return False

    # -- steps

    def run_tokens(self, rows: Seq[TokenRow]) -> None:
        """Compute token rows.

        Raises: DecodeAborted, NoRoom, EngineError.
        """
        self.context.decode_tokens(
            [row.token for row in rows],
            [row.position for row in rows],
            [row.sequence.slot for row in rows],
            [row.wants_logits for row in rows],
        )

    def embeddings(self, prompt: Prompt, index: int, on_layer: OnLayer) -> tuple[NDArray[np.float32], bool]:
        """Embeddings [n_cells, n_embd_inp] of an image segment, and whether it had to be encoded.

        Args:
            prompt: the prompt.
            index: of the image segment in it.
            on_layer: called between two layers of the encoder.

        Raises: EncodeAborted, EngineError.
        """
        part = prompt.images[index][1]
        segment = prompt.segments[index]
        assert isinstance(segment, ImageSegment)
        known = self._embeddings.get(part.id, segment.ordinal, segment.n_cells)
        if known is not None:
            return known, False
        embeddings = self._encode(part, segment, on_layer)
        self._embeddings.put(part.id, segment.ordinal, embeddings)
        return embeddings, True

    def run_image(
        self, prompt: Prompt, index: int, embeddings: NDArray[np.float32], rows: slice, *, slot: int, start: int
    ) -> int:
        """Compute rows of an image segment that begins at position ``start``; returns how many.

        Rows that see each other are computed all at once, whatever ``rows`` says.

        Raises: DecodeAborted, NoRoom, EngineError.
        """
        chunk = prompt.images[index][0]
        positions, causal = self.projector.positions(chunk, start), self.projector.is_causal(chunk)
        if not causal:
            rows = slice(0, len(embeddings))
        self.context.decode_embeddings(embeddings[rows], positions[:, rows], slot, causal=causal)
        return len(embeddings[rows])

    def _encode(self, part: ImagePart, segment: ImageSegment, on_layer: OnLayer) -> NDArray[np.float32]:
        on_layer(0)  # before the pixels are made ready and, perhaps, the projector is loaded
        tiles = [chunk for chunk in self._tiles(part) if chunk.tokens is None]
        if segment.ordinal >= len(tiles) or tiles[segment.ordinal].n_cells != segment.n_cells:
            raise EngineError(f"{part.source}: the image gave other tokens than its size announced")
        embeddings = self.projector.encode(tiles[segment.ordinal], on_layer)
        if segment.ordinal == len(tiles) - 1:
            self._close_image()
        return embeddings

    def _tiles(self, part: ImagePart) -> InputChunks:
        if self._open_image is None or self._open_image[0] != part.id:
            self._close_image()
            image = ImageInput("0", part.width, part.height, part.pixels())
            self._open_image = (part.id, self.projector.tokenize([image], add_special=False))
        return self._open_image[1]

    def _close_image(self) -> None:
        if self._open_image is not None:
            self._open_image[1].close()
            self._open_image = None

    def make_sampler(self, request: Request) -> Sampler | GivenTokens:
        """What chooses the tokens of an answer.

        Raises:
            UsageError: the constraint is refused.
        """
        vocab = self.model.vocab
        if request.continuation is None:
            return Sampler(request.sampling, vocab)
        return GivenTokens(vocab.tokenize(request.continuation, parse_special=False), vocab.eos_id)

    def make_splitter(self, request: Request) -> ThoughtSplitter | None:
        """What tells the thoughts of an answer from its text; None if there are none."""
        marks, vocab = request.thoughts, self.model.vocab
        if marks is None:
            return None
        opening, closing = (vocab.tokenize(mark, parse_special=True) for mark in (marks.opening, marks.closing))
        special = frozenset(token for token in (*opening, *closing) if vocab.looks_special(token))
        return ThoughtSplitter(marks, opening, closing, special)

    def sample(self, sampler: Sampler | GivenTokens, row: int, *, is_free: bool = False) -> int:
        """The token that follows a row of the last token step.

        Args:
            sampler: chooses it.
            row: of the last step.
            is_free: a constraint does not hold yet.
        """
        return sampler.sample(self.context, row, is_free=is_free)

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits [n_vocab] of a row of the last token step, before a token is chosen."""
        logits: NDArray[np.float32] = self.context.logits(row).copy()
        return logits

    @property
    def n_vision_layers(self) -> int | None:
        """Layers of the image's encoder; ``None`` while it is not loaded, and where it does not say."""
        return self.projector.n_layers

    # -- interruption

    def interrupt(self) -> None:
        """Make the running or next native call end early. From any thread."""
        self._abort.set()
        self.projector.stop()

    def resume(self) -> None:
        """Take back :meth:`interrupt`."""
        self._abort.clear()
        self.projector.resume()

    def close(self) -> None:
        """Free context, projector and model, in the order that llama.cpp needs."""
        self._close_image()
        if self._context is not None:
            self._context.close()
            self._context = None
        self.projector.close()
        self.model.close()
