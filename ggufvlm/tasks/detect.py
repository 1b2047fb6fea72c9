"""Objects in images: what to ask a model, and its answer as boxes in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ggufvlm.config import SamplingSettings
from ggufvlm.errors import GGUFVLMError
from ggufvlm.families.convention import Ask, Convention, own_question
from ggufvlm.families.registry import find_family
from ggufvlm.gguf.header import read_header
from ggufvlm.grounding.answers import Reading, read_answer
from ggufvlm.grounding.detections import Detections
from ggufvlm.grounding.families import convention_of
from ggufvlm.grounding.labels import best_label, clean_labels
from ggufvlm.grounding.letterbox import canvas_size, grid_of, letterbox
from ggufvlm.grounding.places import Box, Point, place
from ggufvlm.grounding.view import View, of_plan
from ggufvlm.media import Image, ImageSource, load_single
from ggufvlm.vlm.map import Question

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ggufvlm.vlm.answer import Answer
    from ggufvlm.vlm.vlm import VLM

NAMELESS = "object"
"""What a place is called to which the model gave no name."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image with what was found in it, or with the reason why nothing could be.

    Attributes:
        index: its place among the images.
        image: its pixels; ``None`` if they could not be read.
    """

    index: int
    image: Image | None = None
    detections: Detections | None = None
    error: GGUFVLMError | None = None


def detect(
    vlm: VLM,
    image: ImageSource,
    labels: Sequence[str] = (),
    *,
    points: bool = False,
    convention: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    **settings: Unpack[SamplingSettings],
) -> Detections:
    """Find objects in an image.

    >>> found = detect(VLM.load("demo"), "blocks.png")
    >>> for box in found.boxes:
    ...     print(box.label, round(box.x0), round(box.y0), round(box.x1), round(box.y1))
    blue column 27 60 134 316
    red square 161 121 287 222
    green bar 314 222 439 282

    Load the model with :func:`~ggufvlm.grounding.families.with_enough_tokens` settings if images are small: some
    families need a thousand tokens of an image for reliable boxes.

    Args:
        vlm: a model of a family that marks places.
        image: what :meth:`VLM.describe <ggufvlm.VLM.describe>` takes.
        labels: what to look for; nothing: everything.
        points: ask for points in place of boxes.
        convention: how the model writes places, if it is not as the registry says.
        prompt: a question of your own; ``{label}`` in it stands for the labels.
        system: a system message.
        settings: fields of :class:`~ggufvlm.SamplingParams`.

    Raises:
        UsageError: the family does not mark places, or gives no points; an empty label.
        ImageError: the image cannot be read.
        EngineError, ContextOverflow: see there.
    """
    detector = Detector(
        vlm, labels, points=points, convention=convention, prompt=prompt, system=system, settings=settings
    )
    (found,) = detector.map([image])
    if found.error is not None:
        raise found.error
    assert found.detections is not None
    return found.detections


class Detector:
    """Looks for the same things in many images. Arguments and errors are those of :func:`detect`."""

    def __init__(
        self,
        vlm: VLM,
        labels: Sequence[str] = (),
        *,
        points: bool = False,
        convention: str | Convention | None = None,
        prompt: str | None = None,
        system: str | None = None,
        settings: SamplingSettings | None = None,
    ) -> None:
        self._vlm = vlm
        self.labels = clean_labels(labels)
        self._points = points
        self.convention = convention if isinstance(convention, Convention) else convention_of(vlm.files, convention)
        self._asks = (
            self.convention.asks(self.labels, points=points) if prompt is None else [own_question(prompt, self.labels)]
        )
        self._system = system
        self._settings: SamplingSettings = {**(settings or {})}
        if self.convention.shows_control:
            self._settings.setdefault("show_special", True)
        self._see = viewer(vlm)

    def map(self, images: Iterable[ImageSource]) -> Iterator[Found]:
        """Results in the order of the images; as many answers at a time as the engine has slots.

        An image that cannot be read or asked about is a result with its error.
        """
        gathered = _Gathered(len(self._asks))
        for result in self._vlm.map(self._questions(images, gathered)):
            index, ask = result.question.tag
            gathered.add(index, ask, result.answer or result.error)
            yield from self._finished(gathered)
        yield from self._finished(gathered)

    def _questions(self, images: Iterable[ImageSource], gathered: _Gathered) -> Iterator[Question]:
        for index, source in enumerate(images):
            try:
                gathered.images[index] = image = load_single(source)
            except GGUFVLMError as error:
                gathered.failed[index] = error
                continue
            for number, ask in enumerate(self._asks):
                yield Question(
                    prompt=ask.text, images=[image], system=self._system, settings=self._settings, tag=(index, number)
                )

    def _finished(self, gathered: _Gathered) -> Iterator[Found]:
        for index, image, answers, error in gathered.take():
            if error is not None or image is None:
                yield Found(index, image, error=error)
                continue
            yield Found(index, image, self.read(image, answers))

    def read(self, image: Image, answers: Sequence[Answer]) -> Detections:
        """What answers to this detector's questions mark in an image."""
        sorted_out = _SortedOut(self.convention, self._see(image.width, image.height), self.labels, self._points)
        for ask, answer in zip(self._asks, answers, strict=True):
            sorted_out.add(read_answer(answer.text), ask)
        return Detections(
            source=image.source,
            width=image.width,
            height=image.height,
            labels=self.labels,
            boxes=tuple(place for place in sorted_out.wanted if isinstance(place, Box)),
            points=tuple(place for place in sorted_out.wanted if isinstance(place, Point)),
            others=tuple(sorted_out.others),
            n_dropped=sorted_out.n_dropped,
            n_clipped=sorted_out.n_clipped,
            n_repeated=sorted_out.n_repeated,
            convention=self.convention.name,
            answers=tuple(answers),
        )


def viewer(vlm: VLM) -> Callable[[int, int], View]:
    """What a loaded model sees of an image of some width and height: the resize or letterbox that really happens."""
    handler = vlm.handler
    grid = grid_of(read_header(vlm.files.mmproj), find_family(vlm.files).canvas, handler.library_budget)

    def see(width: int, height: int) -> View:
        plan = handler.image_plan(width, height)
        if grid is None:
            return of_plan(width, height, plan)
        return letterbox(plan.width, plan.height, canvas_size(plan.width, plan.height, grid), (width, height))

    return see


class _SortedOut:
    """Marks of one image as places: wanted ones, others, and counts of what fell through."""

    def __init__(self, convention: Convention, view: View, labels: Sequence[str], points: bool) -> None:
        self._convention, self._view, self._labels, self._points = convention, view, labels, points
        self._known: set[Box | Point] = set()
        self.wanted: list[Box | Point] = []
        self.others: list[Box | Point] = []
        self.n_dropped = self.n_clipped = self.n_repeated = 0

    def add(self, reading: Reading, ask: Ask) -> None:
        self.n_dropped += reading.n_dropped
        for mark in reading.marks:
            label = self._label(mark.label, ask)
            placed = place(mark, self._convention, self._view, label or mark.label or NAMELESS)
            if placed is None or (isinstance(placed.place, Point) and not self._points):
                self.n_dropped += 1
                continue
            if placed.place in self._known:
                self.n_repeated += 1
                continue
            self._known.add(placed.place)
            self.n_clipped += placed.was_clipped
            (self.others if label is None else self.wanted).append(placed.place)

    def _label(self, said: str | None, ask: Ask) -> str | None:
        """What to call it; ``None`` if it was not asked for."""
        if ask.label is not None:
            return ask.label
        if not self._labels:
            return said or NAMELESS
        if said is None:
            return self._labels[0] if len(self._labels) == 1 else None
        return best_label(said, self._labels)


@dataclass(slots=True)
class _Gathered:
    """Answers that have come, until those of an image are complete and it is its turn."""

    n_asks: int
    images: dict[int, Image] = field(default_factory=dict)
    failed: dict[int, GGUFVLMError] = field(default_factory=dict)
    answers: dict[int, dict[int, Answer]] = field(default_factory=dict)
    next: int = 0

    def add(self, index: int, ask: int, result: Answer | GGUFVLMError | None) -> None:
        if isinstance(result, GGUFVLMError):
            self.failed.setdefault(index, result)
        elif result is not None:
            self.answers.setdefault(index, {})[ask] = result

    def take(self) -> Iterator[tuple[int, Image | None, list[Answer], GGUFVLMError | None]]:
        """Images that are complete, in their order, each once."""
        while self.next in self.failed or len(self.answers.get(self.next, ())) == self.n_asks:
            index, self.next = self.next, self.next + 1
            answers = self.answers.pop(index, {})
            yield index, self.images.pop(index, None), [answers[a] for a in sorted(answers)], self.failed.get(index)
