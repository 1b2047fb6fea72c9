"""The facade: load a model, ask it about images, get text. Knows no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from warnings import warn

from ggufvlm.config import EngineConfig, SamplingParams, SamplingSettings, with_settings
from ggufvlm.engine.request import Request
from ggufvlm.errors import GGUFVLMError
from ggufvlm.families import ChatHandler
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.media import Image, ImageSource
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.hub.bar import fetch_with_bar
from ggufvlm.models.resolve import fetch_quietly, find_model
from ggufvlm.vlm.answer import NOT_LOADED, Answer, AnswerStream, PendingAnswer, PromptSize, finished_answer
from ggufvlm.vlm.examples import Example
from ggufvlm.vlm.lifetime import Running, forget
from ggufvlm.vlm.request import Images, Messages, RequestBuilder, image_ids, question_about, read_dialogue
from ggufvlm.vlm.shape import Shape

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ggufvlm.engine.engine import Engine, PromptProgress
    from ggufvlm.engine.thread import Outputs, Ticket
    from ggufvlm.vlm.loading import Loaded
    from ggufvlm.vlm.map import Question, QuestionResult
    from ggufvlm.vlm.score import AnswerScore

T = TypeVar("T")

DEFAULT_PROMPT = "Describe this image."


class VLM:
    """A vision-language model in memory. Use :meth:`load`; close it, or use ``with``.

    Loading goes on in a thread of its own, so that images can be read meanwhile; the first question waits for it.

    Attributes:
        examples: images with their right answers, which come before each first question.
    """

    def __init__(
        self,
        files: ModelFiles,
        config: EngineConfig,
        *,
        raw: bool = False,
        on_load: Callable[[float], None] | None = None,
        on_progress: Callable[[PromptProgress], None] | None = None,
        waits_for_images: bool = False,
    ) -> None:
        """Begin to load; prefer :meth:`load`.

        Args:
            files, config: what to load, and how.
            raw: see :meth:`load`.
            on_load, on_progress: get the loaded share and what comes before the first word, in another thread.
            waits_for_images: the projector is loaded after :meth:`expect`, and only if it is needed.

        Raises:
            ModelError, PairingError: the files are damaged or do not belong together, before llama.cpp sees them.
        """
        from ggufvlm.engine.thread import EngineThread
        from ggufvlm.models.pairing import check_pair
        from ggufvlm.vlm.loading import Loader, Loading

        self.files = files
        self.sampling = SamplingParams(**(files.spec.sampling.given() if files.spec else {}))
        self.examples: tuple[Example, ...] = ()
        self._cancel = CancelToken()
        self._preparing: tuple[Ticket, frozenset[str]] | None = None
        self._expected: Future[Sequence[Image] | None] = Future()
        if not waits_for_images:
            self._expected.set_result(None)
        loading = Loading(
            files=files,
            report=check_pair(files.model, files.mmproj, thorough=False, allow_untyped=True),
            config=config,
            raw=raw,
            on_load=on_load or (lambda _fraction: None),
            on_progress=on_progress,
            cancel=self._cancel,
            images=self._expected.result,
        )
        self._loader = Loader(loading)
        self._worker = EngineThread(self._loader)
        self._running = Running(self._cancel, self._expected, self._worker)
        self._finalizer = self._running.end_with(self)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        mmproj: str | Path | None = None,
        *,
        config: EngineConfig | None = None,
        raw: bool = False,
        progress: bool = True,
    ) -> VLM:
        """Load a model and wait until it is there.

        >>> with VLM.load("demo") as vlm:
        ...     print(vlm.describe("blocks.png"))
        A blue column, a red square and a green bar on a white background.

        Args:
            model: a registry name (``demo``, ``qwen2-vl-2b:Q8_0``) or a path to a GGUF; ``None`` is the user's default.
            mmproj: the projector, if it is not the one that belongs to the model.
            config: context size, threads, GPU layers, image budget.
            raw: send prompts without a chat template, for base models.
            progress: show a download as huggingface_hub does; its own switches silence it too.

        Raises:
            ModelError, PairingError: not found, damaged, not a pair.
            EngineError: llama.cpp cannot run it here.
        """
        fetch = fetch_with_bar if progress else fetch_quietly
        files = find_model(str(model) if model else None, Path(mmproj) if mmproj else None, fetch=fetch)
        vlm = cls(files, config or EngineConfig(), raw=raw)
        try:
            vlm.wait_until_loaded()
        except BaseException:
            vlm.close()
            raise
        for text in vlm.handler.warnings:
            warn(text, stacklevel=2)
        return vlm

    def expect(self, images: Sequence[Image]) -> None:
        """Tell which images the first question is about: known ones need no projector in memory."""
        if not self._expected.done():
            self._expected.set_result(images)

    def wait_until_loaded(self) -> None:
        """Block until the model is in memory.

        Raises:
            ModelError, EngineError: it cannot be loaded.
        """
        self._worker.wait_until_started()

    # -- asking

    def describe(
        self,
        images: Images,
        prompt: str = DEFAULT_PROMPT,
        *,
        system: str | None = None,
        prefill: str = "",
        schema: Any = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Ask one question about one image or several.

        >>> vlm = VLM.load("demo")
        >>> answer = vlm.describe("blocks.png", "What is on the right?", temperature=0)
        >>> answer.text, answer.finish_reason
        ('The green bar.', 'stop')

        Args:
            images: a path, folder, pattern, URL, data URI, bytes, a Pillow image or an array; or a list of these.
            prompt: the question.
            system: a system message.
            prefill: the answer starts with this text.
            schema: see :meth:`stream`.
            settings: fields of :class:`~ggufvlm.SamplingParams`, over the model's own defaults.

        Raises:
            ImageError: an image cannot be read.
            UsageError: there is no image, or a setting makes no sense.
            ContextOverflow: the prompt does not fit into the context.
            EngineError: llama.cpp failed.
        """
        messages = question_about(images, prompt, system)
        return self.stream(messages, prefill=prefill, schema=schema, **settings).answer

    def stream(
        self,
        messages: Messages,
        *,
        images: Sequence[ImageSource] = (),
        prefill: str = "",
        schema: Any = None,
        **settings: Unpack[SamplingSettings],
    ) -> AnswerStream:
        """Answer a dialogue in the Hub's chat format, piece by piece.

        Cells of an earlier call that begin this dialogue are used again: a second question about the same image
        encodes nothing. If the last message is the assistant's, the answer goes on from there.

        >>> vlm = VLM.load("demo")
        >>> content = [{"type": "image", "path": "blocks.png"}, {"type": "text", "text": "How many blocks are there?"}]
        >>> for piece in vlm.stream([{"role": "user", "content": content}]):
        ...     print(piece, end="|")
        3|.|

        Args:
            messages: see :func:`~ggufvlm.families.messages.read_messages`.
            images: images for ``{"type": "image"}`` entries that name none.
            prefill: the answer starts with this text.
            schema: JSON that the answer has to be, as :meth:`~ggufvlm.Constraint.from_schema` takes it; its ``value``
                is an instance of a pydantic model, or the plain data.
            settings: fields of :class:`~ggufvlm.SamplingParams`, over the model's own defaults.

        Raises: as :meth:`describe`; EngineError too if the answer does not fit the schema.
        """
        shape = None if schema is None else Shape.of(schema, settings)
        if shape is not None:
            settings["constraint"] = shape.constraint
        pending = self.submit(self.build_request(messages, images=images, prefill=prefill, **settings))
        # no generator: Ctrl-C would end it, and the answer would be made before the engine has ended it
        finish = pending.finish if shape is None else lambda: shape.fill(pending.finish())
        return AnswerStream(pending.ticket, pending.abort, finish, prefill)

    def prepare(self, messages: Messages, *, images: Sequence[ImageSource] = ()) -> None:
        """Begin to compute a dialogue that is likely to be asked about next, and return at once.

        What a later question has in common with it need not be computed again: images are encoded while the user is
        still typing. Whatever goes wrong here is raised when the question itself comes. Another :meth:`prepare`, or a
        question about other images, puts an end to it.

        Args:
            messages, images: as for :meth:`stream`; the text of the last message may be empty.
        """
        with contextlib.suppress(GGUFVLMError):
            request = replace(self.build_request(messages, images=images), only_prefill=True)
            self._preparing = (self.submit(request).ticket, image_ids(request))

    def stop_preparing(self, unless_within: Request | None = None) -> None:
        """End what :meth:`prepare` began; what it has computed stays. Not if a request needs all its images."""
        if self._preparing is not None:
            ticket, prepared = self._preparing
            if unless_within is None or not prepared <= image_ids(unless_within):
                ticket.abort()
            self._preparing = None

    def map(self, questions: Iterable[Question], *, n_ahead: int | None = None) -> Iterator[QuestionResult]:
        """Answer many questions, as many at a time as the engine has slots (``EngineConfig.n_slots``).

        A question that cannot be answered gives a result with its error and stops no other.

        >>> vlm = VLM.load("demo", config=EngineConfig(n_slots=2))
        >>> questions = [Question(prompt="What is on the left?", images=path) for path in ("blocks.png", "gone.png")]
        >>> results = {result.question.images: result for result in vlm.map(questions)}
        >>> print(results["blocks.png"].answer)
        The blue column.
        >>> print(results["gone.png"].error)
        no such image: gone.png

        Args:
            questions: any iterable; it is read only as far as there is room.
            n_ahead: questions in flight at a time, being read, waiting or answered; two for each slot by default.

        Yields: results in the order in which they are finished.
        """
        from ggufvlm.vlm.map import Mapping

        yield from Mapping(self, questions, n_ahead or 2 * self._loader.loading.config.n_slots).results()

    def score(
        self, messages: Messages, continuations: Sequence[str], *, images: Sequence[ImageSource] = ()
    ) -> list[AnswerScore]:
        """How probable each of some answers is; the same as :func:`ggufvlm.score`."""
        from ggufvlm.vlm.score import score

        return score(self, messages, continuations, images=images)

    def build_request(
        self,
        messages: Messages,
        *,
        images: Sequence[ImageSource] = (),
        prefill: str = "",
        continues: bool = True,
        **settings: Unpack[SamplingSettings],
    ) -> Request:
        """The request that :meth:`stream` would submit.

        Args:
            messages, images, prefill, settings: as for :meth:`stream`.
            continues: whether the answer goes on from a last message of the assistant.

        Raises:
            ImageError: an image cannot be read.
            UsageError: messages or settings that make no sense.
        """
        dialogue = read_dialogue(messages, images)
        chosen = with_settings(self.sampling, settings)
        return self.request_builder.build(dialogue, chosen, prefill, continues=continues)

    def submit(self, request: Request, outputs: Outputs | None = None) -> PendingAnswer:
        """Begin to answer a request, and return at once. May be called from several threads.

        Args:
            request: made by :meth:`build_request` or :attr:`request_builder`.
            outputs: where its outputs go, if several requests share a queue; its ticket is not to be iterated then.

        Raises:
            ContextOverflow: the prompt does not fit into the context.
            UsageError, EngineError: the constraint is wrong, or llama.cpp failed.
        """
        self.stop_preparing(unless_within=request)
        ticket = self._worker.submit(request, outputs)
        return PendingAnswer(ticket, lambda: self._answer(ticket, request))

    def in_engine_thread(self, function: Callable[[Engine], T]) -> T:
        """Run a function in the thread that owns the engine, between two of its steps.

        What it submits begins in the same step.

        Args:
            function: gets the engine.

        Returns:
            What the function returns.

        Raises:
            EngineError: the model is closed.
        """
        return self._worker.call(lambda: function(self._worker.engine))

    def measure(self, messages: Messages, *, images: Sequence[ImageSource] = (), prefill: str = "") -> PromptSize:
        """What a dialogue would take of the context. Nothing is computed.

        Args:
            messages, images, prefill: as for :meth:`stream`.

        Raises:
            ImageError: an image cannot be read.
            UsageError: the messages make no sense.
        """
        request = self.build_request(messages, images=images, prefill=prefill)
        cells, limit = self.in_engine_thread(lambda engine: (engine.measure(request), engine.n_ctx_limit))
        n_text = cells.pop(-1, 0) + sum(cells.pop(place, 0) for place in range(len(self.examples)))
        return PromptSize(n_text=n_text, n_images=tuple(cells[place] for place in sorted(cells)), limit=limit)

    # -- prompts

    @property
    def request_builder(self) -> RequestBuilder:
        """What makes requests of dialogues for this model."""
        loaded = self.loaded
        return RequestBuilder(
            handler=loaded.handler,
            adds_bos=loaded.adds_bos,
            adds_eos=loaded.adds_eos,
            is_raw=self._loader.loading.raw,
            examples=self.examples,
        )

    @property
    def handler(self) -> ChatHandler:
        """The chat handler of this model's family."""
        return self.loaded.handler

    @property
    def loaded(self) -> Loaded:
        """What was loaded, once it is."""
        self.wait_until_loaded()
        assert self._loader.loaded is not None
        return self._loader.loaded

    # -- answers

    def _answer(self, ticket: Ticket, request: Request) -> Answer:
        loaded, engine = self.loaded, self._worker.engine
        return finished_answer(
            request,
            ticket,
            model=self.files.name,
            n_ctx=engine.n_ctx,
            load_seconds=loaded.seconds,
            repair=loaded.repair,
            projector=loaded.projector if engine.has_projector else NOT_LOADED,
        )

    def stop_loading(self) -> None:
        """Make loading end soon; who waits for it gets an error. From any thread or signal handler."""
        self._cancel.cancel()

    def close(self) -> None:
        """Stop and free everything. Safe to call twice."""
        self._running.end()
        forget(self, self._finalizer)  # last: if Ctrl-C comes before, the interpreter closes it at its end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
