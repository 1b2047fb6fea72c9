"""The facade: load a model, ask it about images, get text. Knows no terminal."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufvlm.config import EngineConfig, SamplingParams, SamplingSettings
from ggufvlm.engine.request import ImagePart, Part, Request, TextPart
from ggufvlm.engine.sequence import Sequence as EngineSequence
from ggufvlm.errors import GGUFVLMError
from ggufvlm.families import ChatHandler, Message
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.media import Image, load, prepare
from ggufvlm.media.pixels.prepare import planned_id
from ggufvlm.models.files import ModelFiles
from ggufvlm.models.resolve import find_model
from ggufvlm.vlm.answer import Answer, AnswerStream, PromptSize, Times, Usage
from ggufvlm.vlm.request import Messages, image_ids, question, read_dialogue, seen_images

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ggufvlm.engine.engine import Engine, PromptProgress
    from ggufvlm.engine.thread import Outputs, Ticket
    from ggufvlm.vlm.loading import Loaded
    from ggufvlm.vlm.map import Question, Result
    from ggufvlm.vlm.score import Score

DEFAULT_PROMPT = "Describe this image."
NOT_LOADED = "not loaded, the image is known"


class VLM:
    """A vision-language model in memory. Use :meth:`load`; close it, or use ``with``.

    Loading goes on in a thread of its own, so that images can be read meanwhile; the first question waits for it.
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
            files: what to load.
            config: how.
            raw: see :meth:`load`.
            on_load, on_progress: get the loaded share and what comes before the first word, in another thread.
            waits_for_images: the projector is loaded after :meth:`expect`, and only if it is needed.

        Raises:
            ModelError, PairingError: the files are damaged or do not belong together, before llama.cpp sees them.
        """
        from ggufvlm.engine.thread import EngineThread
        from ggufvlm.models.pairing import check_pair
        from ggufvlm.vlm.loading import Loading

        self.files = files
        self.sampling = SamplingParams(**(files.spec.sampling.given() if files.spec else {}))
        self._raw = raw
        self._cancel = CancelToken()
        self._result: Loaded | None = None
        self._preparing: tuple[Ticket, frozenset[str]] | None = None
        self._expected: Future[Sequence[Image] | None] = Future()
        if not waits_for_images:
            self._expected.set_result(None)
        self._loading = Loading(
            files=files,
            report=check_pair(files.model, files.mmproj, thorough=False, allow_untyped=True),
            config=config,
            raw=raw,
            on_load=on_load or (lambda _fraction: None),
            on_progress=on_progress,
            cancel=self._cancel,
            images=self._expected.result,
        )
        self._worker = EngineThread(self._make_engine)
        atexit.register(self.close)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        mmproj: str | Path | None = None,
        *,
        config: EngineConfig | None = None,
        raw: bool = False,
    ) -> VLM:
        """Load a model and wait until it is there.

        Args:
            model: a registry name (``demo``, ``qwen2-vl-2b:Q8_0``) or a path to a GGUF; ``None`` is the user's default.
            mmproj: the projector, if it is not the one that belongs to the model.
            config: context size, threads, GPU layers, image budget.
            raw: send prompts without a chat template, for base models.

        Raises:
            ModelError, PairingError: not found, damaged, not a pair.
            EngineError: llama.cpp cannot run it here.
        """
        files = find_model(str(model) if model else None, Path(mmproj) if mmproj else None)
        vlm = cls(files, config or EngineConfig(), raw=raw)
        try:
            vlm.wait_until_loaded()
        except BaseException:
            vlm.close()
            raise
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
        images: Any,
        prompt: str = DEFAULT_PROMPT,
        *,
        system: str | None = None,
        prefill: str = "",
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Ask one question about one image or several.

        Args:
            images: a path, URL, data URI, bytes, a Pillow image or an array; or a list of these.
            prompt: the question.
            system: a system message.
            prefill: the answer starts with this text.
            settings: fields of :class:`~ggufvlm.SamplingParams`.

        Raises:
            ImageError: an image cannot be read.
            UsageError, ContextOverflow, EngineError: see there.
        """
        sources = images if isinstance(images, (list, tuple)) else [images]
        messages = question([load(source) for source in sources], prompt, system)
        return self.stream(messages, prefill=prefill, **settings).answer

    def stream(
        self,
        messages: Messages,
        *,
        images: Sequence[Any] = (),
        prefill: str = "",
        **settings: Unpack[SamplingSettings],
    ) -> AnswerStream:
        """Answer a dialogue in the Hub's chat format, piece by piece.

        Cells of an earlier call that begin this dialogue are used again: a second question about the same image
        encodes nothing. If the last message is the assistant's, the answer goes on from there.

        Args:
            messages: see :func:`~ggufvlm.families.messages.read_messages`.
            images: images for ``{"type": "image"}`` entries that name none.
            prefill: the answer starts with this text.
            settings: fields of :class:`~ggufvlm.SamplingParams`, over the model's own defaults.

        Raises: as :meth:`describe`.
        """
        ticket, finish = self.begin(read_dialogue(messages, images), prefill, settings)

        def pieces() -> Iterable[str]:
            if prefill:
                yield prefill
            yield from ticket

        return AnswerStream(iter(pieces()), ticket.abort, finish)

    def prepare(self, messages: Messages, *, images: Sequence[Any] = ()) -> None:
        """Begin to compute a dialogue that is likely to be asked about next, and return at once.

        What a later question has in common with it need not be computed again: images are encoded while the user is
        still typing. Whatever goes wrong here is told when the question itself comes. Another :meth:`prepare`, or a
        question about other images, puts an end to it.

        Args:
            messages, images: as for :meth:`stream`; the text of the last message may be empty.
        """
        with contextlib.suppress(GGUFVLMError):
            request = self._request(read_dialogue(messages, images), "", self.sampling)
            self.stop_preparing(unless_within=request)
            ticket = self._worker.submit(replace(request, only_prefill=True))
            self._preparing = (ticket, image_ids(request))

    def stop_preparing(self, unless_within: Request | None = None) -> None:
        """End what :meth:`prepare` began; what it has computed stays. Not if a request needs all its images."""
        if self._preparing is not None:
            ticket, prepared = self._preparing
            if unless_within is None or not prepared <= image_ids(unless_within):
                ticket.abort()
            self._preparing = None

    def map(self, questions: Iterable[Question], *, n_ahead: int | None = None) -> Iterator[Result]:
        """Answer many questions, as many at a time as the engine has slots (``EngineConfig.n_slots``).

        A question that cannot be answered gives a result with its error and stops no other.

        Args:
            questions: any iterable; it is read only as far as there is room.
            n_ahead: questions in hand at a time, being read, waiting or answered; two for each slot by default.

        Yields: results in the order in which they are finished.
        """
        from ggufvlm.vlm.map import Mapping

        yield from Mapping(self, questions, n_ahead or 2 * self._loading.config.n_slots).results()

    def score(self, messages: Messages, continuations: Sequence[str], *, images: Sequence[Any] = ()) -> list[Score]:
        """How probable each of some answers is, by the model's own token probabilities.

        The dialogue is computed once; the answers share its cells, as many at a time as the engine has slots.

        Args:
            messages, images: as for :meth:`stream`.
            continuations: whole answers, each with at least one character.

        Raises: as :meth:`describe`.
        """
        from ggufvlm.vlm.score import score

        sampling = replace(self.sampling, max_tokens=-1, stop=(), constraint=None, logprobs=None)
        request = self._request(read_dialogue(messages, images), "", sampling)
        self.stop_preparing(unless_within=request)
        return score(request, continuations, self._worker.submit)

    def begin(
        self,
        dialogue: list[Message],
        prefill: str,
        settings: SamplingSettings,
        outputs: Outputs | None = None,
    ) -> tuple[Ticket, Callable[[str], Answer]]:
        """Start to answer; what comes back finishes the answer when its text is complete."""
        request = self._request(dialogue, prefill, replace(self.sampling, **settings))
        images = [image for message in dialogue for image in message.images]
        self.stop_preparing(unless_within=request)
        ticket = self._worker.submit(request, outputs)
        return ticket, lambda text: self._answer(text, ticket.sequence, images, request)

    def measure(self, messages: Messages, *, images: Sequence[Any] = (), prefill: str = "") -> PromptSize:
        """What a dialogue would take of the context. Nothing is computed.

        Raises: as :meth:`describe`, but for ContextOverflow.
        """
        request = self._request(read_dialogue(messages, images), prefill, self.sampling)
        engine = self._worker.engine
        cells = self._worker.call(lambda: engine.measure(request))
        n_text = cells.pop(-1, 0)
        return PromptSize(
            n_text=n_text, n_images=tuple(cells[place] for place in sorted(cells)), limit=engine.n_ctx_limit
        )

    # -- prompts

    def _request(self, dialogue: list[Message], prefill: str, sampling: SamplingParams) -> Request:
        said = dialogue[-1].text if dialogue[-1].role == "assistant" else ""
        parts = self._prompt(dialogue[:-1] if dialogue[-1].role == "assistant" else dialogue, said + prefill)
        add_special = self._adds_special(parts)  # may put the begin token in front of them
        return Request(
            parts=tuple(parts),
            sampling=sampling,
            add_special=add_special,
            strip_start=not (self._raw or said or prefill or sampling.constraint),
        )

    @property
    def handler(self) -> ChatHandler:
        """The chat handler of this model's family."""
        return self._loaded.handler

    @property
    def _loaded(self) -> Loaded:
        self.wait_until_loaded()
        assert self._result is not None
        return self._result

    def _make_engine(self) -> Engine:
        """In the worker's thread."""
        from ggufvlm.vlm.loading import load_engine

        self._result = load_engine(self._loading)
        return self._result.engine

    def _prompt(self, dialogue: Sequence[Message], beginning: str) -> list[Part]:
        parts: list[Part] = []
        for item in self.handler.render(dialogue):
            parts.append(self._image(item) if isinstance(item, Image) else item)
        if beginning:
            parts.append(TextPart(beginning))
        return parts

    def _image(self, image: Image) -> ImagePart:
        plan = self.handler.plan_of(image)
        return ImagePart(
            id=planned_id(image, plan),
            source=image.source,
            width=plan.width,
            height=plan.height,
            pixels=lambda: prepare(image, plan).rgb,
        )

    def _adds_special(self, parts: list[Part]) -> bool:
        """Whether the tokenizer shall add the begin token; puts it in front as text where it also would add an end."""
        bos = self.handler.facts.tokens.bos
        first = parts[0]
        if bos and isinstance(first, TextPart) and first.trusted and first.text.startswith(bos):
            return False
        if not self._loaded.adds_eos:
            return True
        if self._loaded.adds_bos and bos:
            parts.insert(0, TextPart(bos, trusted=True))
        return False

    # -- answers

    def _answer(self, text: str, sequence: EngineSequence, images: Sequence[Image], request: Request) -> Answer:
        timings = sequence.timings
        return Answer(
            text=text,
            finish_reason=sequence.finish_reason or "error",
            model=self.files.name,
            images=tuple(seen_images(images, request, sequence)),
            usage=Usage(
                n_prompt=sequence.n_prompt,
                n_cached=sequence.n_cached,
                n_restored=sequence.n_restored,
                n_images_encoded=sequence.n_encoded,
                n_images_recalled=sequence.n_recalled,
                n_generated=len(sequence.generated),
                n_ctx=self._worker.engine.n_ctx,
            ),
            times=Times(
                load=self._loaded.seconds,
                encode=timings.encode,
                prefill=timings.prefill,
                decode=timings.decode,
                first_token=timings.first_token,
            ),
            seed=sequence.seed,
            repair=self._loaded.repair,
            projector=self._loaded.projector if self._worker.engine.has_projector else NOT_LOADED,
            logprobs=None if request.sampling.logprobs is None else tuple(sequence.logprobs),
        )

    def stop_loading(self) -> None:
        """Make loading end soon; who waits for it gets an error. From any thread or signal handler."""
        self._cancel.cancel()

    def close(self) -> None:
        """Stop and free everything. Safe to call twice."""
        self._cancel.cancel()
        self.expect(())
        self._worker.close()
        atexit.unregister(self.close)  # last: if Ctrl-C comes before, the interpreter closes it at its end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
