"""Images, PDFs, scans and videos -> the contents of one message that fits into the context."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ggufvlm.errors import UsageError
from ggufvlm.families.messages import Message
from ggufvlm.media import Image, ImageSource
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.kinds import FileKind, MediaFile, identify
from ggufvlm.media.documents.document import Document, Selection, open_document
from ggufvlm.media.sources.read import read_source
from ggufvlm.vlm.request import Messages, question

if TYPE_CHECKING:
    from ggufvlm.config import SamplingParams
    from ggufvlm.vlm.answer import PromptSize

Content: TypeAlias = "tuple[str | Image, ...]"

MAX_BYTES = 1 << 30
"""Of decoded images of documents in one message."""

_MOST_TIMES = 12  # that a note lists
_ANSWER_CELLS = 512  # kept free for the answer, at most; and at most a quarter of the context


class Measurer(Protocol):
    """Who can tell what a dialogue takes of the context: :class:`~ggufvlm.VLM`."""

    @property
    def sampling(self) -> SamplingParams: ...

    def measure(self, messages: Messages, *, images: Sequence[ImageSource] = (), prefill: str = "") -> PromptSize: ...


@dataclass(frozen=True, slots=True)
class _Frames:
    """Images of one source, with their places in it if it is a document.

    Attributes:
        is_cut: whether some of the wanted images were left out.
    """

    name: str
    document: Document | None
    images: tuple[tuple[float, Image], ...]
    is_cut: bool = False


class Attachments:
    """What one question is about: images, and PDFs and videos of which as much is taken as fits."""

    def __init__(self, strips: Sequence[_Frames]) -> None:
        self._strips = list(strips)

    @classmethod
    def of(cls, images: Iterable[Image]) -> Attachments:
        """Images that are read already."""
        return cls([_Frames(image.source, None, ((0, image),)) for image in images])

    @classmethod
    def read(cls, sources: Iterable[str | os.PathLike[str]], selection: Selection | None = None) -> Attachments:
        """Read plain images, and of each PDF, scan and video the first of the wanted images.

        Args:
            sources: paths, URLs, data URIs, ``-`` or ``clipboard:``; told apart by their contents.
            selection: which pages and frames are wanted.

        Raises:
            ImageError: one of them cannot be read.
            UsageError: a selection that makes no sense.
            MissingExtra: the package that reads it is not installed.
        """
        selection = selection or Selection()
        attachments = cls.of_files(map(identify, sources), selection)
        documents = [strip.document for strip in attachments._strips if strip.document]  # noqa: SLF001 - its own class
        if selection.pages is not None and not any(document.n_pages for document in documents):
            raise UsageError("pages are chosen, and there is no PDF and no TIFF of several pages")
        wants_frames = selection.scenes or (selection.every or selection.frames) is not None
        if wants_frames and all(document.n_pages for document in documents):
            raise UsageError("frames are chosen, and there is no video")
        return attachments

    @classmethod
    def of_files(cls, files: Iterable[MediaFile], selection: Selection) -> Attachments:
        """As :meth:`read`, of files whose kind is known; pages and frames may be chosen where there are none."""
        return cls([_begin(file, selection) for file in files])

    @property
    def has_documents(self) -> bool:
        """Whether there is a PDF, a scan or a video among them."""
        return any(strip.document for strip in self._strips)

    @property
    def n_wanted(self) -> int:
        """How many images there would be if all fitted."""
        return sum(len(strip.document.places) if strip.document else 1 for strip in self._strips)

    @property
    def n_bytes(self) -> int:
        """What the wanted images would take in memory, if all of a document are as large as its first."""
        return sum(
            sum(len(image.rgb) for _, image in strip.images) * (len(strip.document.places) if strip.document else 1)
            for strip in self._strips
        )

    @property
    def first_images(self) -> list[Image]:
        """What is read already."""
        return [image for strip in self._strips for _, image in strip.images]

    def fit(
        self, vlm: Measurer, prompt: str, system: str | None = None, prefill: str = "", *, max_bytes: int = MAX_BYTES
    ) -> tuple[list[Message], list[str]]:
        """The dialogue, and a line for each document of which not all wanted images fit.

        With several images each one stands behind a label: ``[page 3]``, ``[0:12.0]``, ``[scan.pdf, page 3]``.

        Args:
            vlm: tells what a dialogue takes of the context.
            prompt: the question.
            system: a system message.
            prefill: the text that the answer will start with.
            max_bytes: limit of the memory for decoded images of documents.

        Raises: as :meth:`read`, and as :meth:`VLM.measure <ggufvlm.VLM.measure>`.
        """
        if not self.has_documents:
            return question(self.first_images, prompt, system), []

        def messages(strips: Sequence[_Frames]) -> list[Message]:
            return _messages(_labelled(strips, prompt), system)

        def measure(strips: Sequence[_Frames]) -> PromptSize:
            return vlm.measure(messages(strips), prefill=prefill)

        chosen = self._choose(measure, lambda size: size.limit - kept_free(vlm, size.limit), max_bytes)
        return messages(chosen), _notes(chosen)

    def images(self, vlm: Measurer, room: int, *, max_bytes: int = MAX_BYTES) -> tuple[list[Image], list[str]]:
        """As many images as fit into a part of the context, and a line for each document of which not all do.

        Of each document at least one is among them.

        Args:
            vlm: tells what images take of the context.
            room: cells that the images may take.
            max_bytes: limit of the memory for decoded images of documents.

        Raises: as :meth:`read`, and as :meth:`VLM.measure <ggufvlm.VLM.measure>`.
        """

        def measure(strips: Sequence[_Frames]) -> PromptSize:
            return vlm.measure([Message("user", tuple(image for strip in strips for _, image in strip.images))])

        chosen = self._choose(measure, lambda _size: room, max_bytes)
        return [image for strip in chosen for _, image in strip.images], _notes(chosen)

    def _choose(
        self,
        measure: Callable[[Sequence[_Frames]], PromptSize],
        room: Callable[[PromptSize], int],
        max_bytes: int,
    ) -> list[_Frames]:
        """All wanted images, or as many as fit."""
        if not self.has_documents:
            return self._strips
        size = measure(self._strips)
        share = min(self._first_share(size, room(size)), max_bytes / max(1, self.n_bytes))
        chosen = [self._read(strip, share) for strip in self._strips]
        while True:
            size = measure(chosen)
            if size.total <= room(size) or all(len(strip.images) <= 1 for strip in chosen):
                return chosen
            chosen = [_thinned(strip, max(0.0, room(size) / size.total)) for strip in chosen]

    def _first_share(self, size: PromptSize, room: int) -> float:
        """The fraction of the wanted images that would fit if all images of a document were like its first."""
        fixed, wanted = size.n_text, 0
        for strip, cells in zip(self._strips, size.n_images, strict=True):
            if strip.document is None:
                fixed += cells
            else:
                wanted += cells * len(strip.document.places)
        return min(1.0, max(0, room - fixed) / wanted)

    def _read(self, strip: _Frames, share: float) -> _Frames:
        document = strip.document
        if document is None:
            return strip
        places = document.fewer(document.places, max(1, int(share * len(document.places))))
        return _Frames(strip.name, document, tuple(document.images(places)), len(places) < len(document.places))


def _begin(file: MediaFile, selection: Selection) -> _Frames:
    if file.kind is FileKind.IMAGE:
        image = decode(_contents(file), file.name)
        return _Frames(file.name, None, ((0, image),))
    document = open_document(file, selection)
    return _Frames(file.name, document, tuple(document.images(document.places[:1])))


def _contents(file: MediaFile) -> bytes:
    return file.place if isinstance(file.place, bytes) else read_source(file.place)[0]


def kept_free(vlm: Measurer, limit: int) -> int:
    """Cells that a prompt leaves for the answer."""
    wanted = vlm.sampling.max_tokens
    return min(_ANSWER_CELLS if wanted < 0 else min(wanted, _ANSWER_CELLS), limit // 4)


def _messages(content: Content, system: str | None) -> list[Message]:
    messages = [Message("user", content)]
    return [Message("system", (system,)), *messages] if system else messages


def _labelled(strips: Sequence[_Frames], prompt: str) -> Content:
    if sum(len(strip.images) for strip in strips) == 1:
        return (*(image for strip in strips for _, image in strip.images), prompt)
    content: list[str | Image] = []
    for strip in strips:
        for place, image in strip.images:
            parts = [strip.name] if len(strips) > 1 else []
            parts += [strip.document.label(place)] if strip.document else []
            content += [f"[{', '.join(parts)}]\n", image, "\n"]
    return (*content, prompt)


def _thinned(strip: _Frames, share: float) -> _Frames:
    if strip.document is None or len(strip.images) < 2:
        return strip
    by_place = dict(strip.images)
    n = max(1, min(len(by_place) - 1, int(share * len(by_place))))
    kept = strip.document.fewer(list(by_place), n)
    return _Frames(strip.name, strip.document, tuple((place, by_place[place]) for place in kept), is_cut=True)


def _notes(strips: Sequence[_Frames]) -> list[str]:
    return [note for strip in strips if (note := _note(strip))]


def _note(strip: _Frames) -> str | None:
    document = strip.document
    if document is None or not strip.is_cut:
        return None
    used, wanted = [place for place, _ in strip.images], len(document.places)
    if document.n_pages is None:
        times = [document.label(place) for place in used]
        if len(times) > _MOST_TIMES:
            times = [*times[: _MOST_TIMES - 1], f"... {times[-1]}"]
        return f"{strip.name}: {len(used)} of {wanted} frames fit: {', '.join(times)}"
    return f"{strip.name}: {len(used)} of {wanted} pages fit: {ranges([int(page) for page in used])}"


def ranges(numbers: Sequence[int]) -> str:
    """``1-5, 8``"""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
