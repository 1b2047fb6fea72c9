"""Reading pages: images and PDFs -> text or Markdown, in order, several at a time.

What goes wrong with small models is dealt with page by page: an answer that ends in a repetition loop is asked for
again at rising temperatures, as olmOCR does it (``olmocr/pipeline.py``, ``TEMPERATURE_BY_ATTEMPT``); a page that lies
on its side is found by how sure the model is of what it reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ggufvlm.config import SamplingSettings
from ggufvlm.errors import UsageError
from ggufvlm.families.registry import find_family
from ggufvlm.media import Image, ImageSource, load, to_png
from ggufvlm.media.decoding.kinds import FileKind, MediaFile
from ggufvlm.tasks.ocr.markup import clean
from ggufvlm.tasks.ocr.page import Page, PageSettings
from ggufvlm.tasks.ocr.pages import without_loop
from ggufvlm.tasks.ocr.places import PagePlace, find_places, images
from ggufvlm.tasks.ocr.turns import PROBE_TOKENS, best_turn, confidence, is_blank, turned

if TYPE_CHECKING:
    from ggufvlm.vlm.answer import Answer
    from ggufvlm.vlm.map import Question
    from ggufvlm.vlm.vlm import VLM

RETRY_TEMPERATURES = (0.2, 0.5, 0.8, 1.0)


def ocr(vlm: VLM, source: ImageSource, settings: PageSettings | None = None, *, pages: str | None = None) -> list[Page]:
    """Read the text of an image, or of the pages of a PDF or TIFF file.

    >>> vlm = VLM.load("demo")
    >>> page, = ocr(vlm, "page.png", PageSettings(wanted="markdown", prompt="Describe this image."))
    >>> print(page.text)
    A blue column, a red square and a green bar on a white background.

    Args:
        vlm: as many pages are read at a time as it has slots.
        source: what :meth:`VLM.describe <ggufvlm.VLM.describe>` takes, or a path or URL of a PDF.
        settings: format of the text, rotation, retries and the like.
        pages: which pages of a PDF or TIFF file, as in ``1-5,8``; ``None`` is all.

    Returns:
        The pages in order; one that cannot be read among others has its error.

    Raises:
        ImageError: the file cannot be read, or none of its pages.
        UsageError: a selection of pages that makes no sense, or of something that has none.
        EngineError: the engine failed.
    """
    if isinstance(source, (str, os.PathLike)):
        places = find_places([os.fspath(source)], pages)
    elif pages is not None:
        raise UsageError("pages are chosen, and there is no PDF and no TIFF of several pages")
    else:
        image = load(source)
        places = [PagePlace(file=MediaFile(FileKind.IMAGE, to_png(image), image.source))]
    read = list(read_pages(vlm, places, settings))
    if read and all(page.error for page in read):
        raise next(page.error for page in read if page.error)
    return read


def needs_model(places: Iterable[PagePlace], reading: PageSettings) -> bool:
    """Whether one of the pages has to be looked at."""
    return not reading.takes_layer or any(place.layer is None and place.error is None for place in places)


def read_pages(vlm: VLM | None, places: Iterable[PagePlace], reading: PageSettings | None = None) -> Iterator[Page]:
    """Read pages, as many at a time as the engine has slots; they come in the order in which they are given.

    A page that cannot be read comes with its error and stops no other.

    Args:
        vlm: answers; ``None`` if :func:`needs_model` says so.
        places: from :func:`~ggufvlm.tasks.ocr.places.find_places`.
        reading: how.

    Raises:
        UsageError: there is no model, and a page needs one.
        EngineError: the engine failed.
    """
    reading = reading or PageSettings()
    waiting: dict[int, Page] = {}
    following = 0
    for number, page in _Pass(vlm, reading).pages(places):
        waiting[number] = page
        while following in waiting:
            yield waiting.pop(following)
            following += 1


class _Pass:
    """One way through all pages; they come as they are finished."""

    def __init__(self, vlm: VLM | None, reading: PageSettings) -> None:
        self._vlm = vlm
        self._reading = reading
        self._done: list[tuple[int, Page]] = []  # what needed no answer
        self._prompts = find_family(vlm.files).pages if vlm is not None else None
        self._settings = self._sampling()

    def pages(self, places: Iterable[PagePlace]) -> Iterator[tuple[int, Page]]:
        questions = self._questions(places)
        if self._vlm is not None:
            for result in self._vlm.map(questions):
                yield from self._flush()
                number, place, image = result.question.tag
                if result.answer is None:
                    yield number, Page(place=place, error=result.error)
                else:
                    yield number, self._settle(place, image, result.answer)
        elif next(questions, None) is not None:
            raise UsageError("a page has to be looked at, and there is no model")
        yield from self._flush()

    def _flush(self) -> Iterator[tuple[int, Page]]:
        while self._done:
            yield self._done.pop(0)

    def _questions(self, places: Iterable[PagePlace]) -> Iterator[Question]:
        """A question for each page that has to be looked at; the others are done on the way."""
        numbered: list[int] = []

        def to_look_at() -> Iterator[PagePlace]:
            for number, place in enumerate(places):
                if self._reading.takes_layer and place.layer is not None:
                    self._done.append((number, Page(place=place, text=place.layer, origin="text layer")))
                else:
                    numbered.append(number)
                    yield place

        for place, seen in images(to_look_at(), self._reading.dpi):
            number = numbered.pop(0)
            if not isinstance(seen, Image):
                self._done.append((number, Page(place=place, error=seen)))
            elif is_blank(seen):
                self._done.append((number, Page(place=place, origin="blank")))
            else:
                image = turned(seen, self._reading.rotate or 0)
                yield replace(self._question(image), tag=(number, place, image))

    def _question(self, image: Image) -> Question:
        from ggufvlm.vlm.map import Question

        return Question(prompt=self._prompt, images=[image], system=self._reading.system, settings=self._settings)

    @property
    def _prompt(self) -> str:
        if self._reading.prompt is not None:
            return self._reading.prompt
        return self._prompts.prompt(self._reading.wanted) if self._prompts else ""

    def _sampling(self) -> SamplingSettings:
        """The most probable token each time: penalties would forbid what a table repeats."""
        settings = SamplingSettings(temperature=0.0, repeat_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0)
        reading = self._reading
        if self._prompts is not None and reading.prompt is None:
            settings["show_special"] = self._prompts.special_shown(reading.wanted)
        if reading.measures or reading.rotate is None:
            settings["logprobs"] = 0
        settings.update(reading.settings)
        return settings

    def _probing(self) -> SamplingSettings:
        settings = self._settings.copy()
        wanted = settings.get("max_tokens", -1)
        settings["max_tokens"] = PROBE_TOKENS if wanted < 0 else min(wanted, PROBE_TOKENS)
        return settings

    def _settle(self, place: PagePlace, image: Image, answer: Answer) -> Page:
        """Look again where the first answer will not do."""
        rotation = self._reading.rotate or 0
        if self._reading.rotate is None and self._is_doubtful(answer):
            rotation = best_turn(image, answer, lambda side: self._ask(side, self._probing()))
            if rotation:
                image = turned(image, rotation)
                answer = self._ask(image, self._settings)
        answer, n_retries = self._retried(image, answer)
        return Page(
            place=place,
            text=self._text(answer),
            origin="model",
            model=answer.model,
            finish_reason=answer.finish_reason,
            stop_reason=answer.stop_reason,
            n_tokens=answer.usage.n_generated,
            rotation=rotation,
            n_retries=n_retries,
            confidence=confidence(answer),
        )

    def _text(self, answer: Answer) -> str:
        text = without_loop(answer.text) if answer.finish_reason == "repetition" else answer.text
        if self._prompts is None or self._reading.prompt is not None:
            return text.strip("\n")
        return clean(text, self._prompts.markup_of(self._reading.wanted), self._reading.wanted)

    def _ask(self, image: Image, settings: SamplingSettings) -> Answer:
        from ggufvlm.vlm.request import question

        assert self._vlm is not None
        with self._vlm.stream(question([image], self._prompt, self._reading.system), **settings) as stream:
            return stream.answer

    def _is_doubtful(self, answer: Answer) -> bool:
        sure = confidence(answer)
        return sure is None or sure < self._reading.sure or answer.finish_reason == "repetition"

    def _retried(self, image: Image, answer: Answer) -> tuple[Answer, int]:
        """The first answer without a repetition loop, or of all the one that came furthest before its loop."""
        answers = [answer]
        while answers[-1].finish_reason == "repetition" and len(answers) <= self._reading.n_retries:
            settings = self._settings.copy()
            step = RETRY_TEMPERATURES[min(len(answers), len(RETRY_TEMPERATURES)) - 1]
            settings["temperature"] = max(step, settings.get("temperature", 0.0))
            seed = settings.get("seed")
            settings["seed"] = len(answers) + (seed or 0)  # the same command gives the same text
            answers.append(self._ask(image, settings))
        if answers[-1].finish_reason != "repetition":
            return answers[-1], len(answers) - 1
        return max(answers, key=lambda each: len(without_loop(each.text))), len(answers) - 1
