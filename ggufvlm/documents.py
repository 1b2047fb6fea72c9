"""Pictures, PDFs and videos -> the contents of one message that fits into the context."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ggufvlm.errors import UsageError
from ggufvlm.handlers.messages import Message
from ggufvlm.media import Image
from ggufvlm.media.decode import decode
from ggufvlm.media.documents import Document, Selection, open_document
from ggufvlm.media.kinds import FileKind, identify
from ggufvlm.media.loading import load
from ggufvlm.vlm import question

if TYPE_CHECKING:
    from ggufvlm.vlm import VLM

Content: TypeAlias = "tuple[str | Image, ...]"

_MOST_BYTES = 1 << 30  # of decoded pictures in one message
_ANSWER_CELLS = 512  # kept free for the answer, at most; and at most a quarter of the context


@dataclass(frozen=True, slots=True)
class _Strip:
    """Pictures of one source, with their places in it if it is a document.

    Attributes:
        is_cut: whether some of the wanted pictures were left out.
    """

    name: str
    document: Document | None
    pictures: tuple[tuple[float, Image], ...]
    is_cut: bool = False


class Material:
    """What one question is about: pictures, and PDFs and videos of which as much is taken as fits."""

    def __init__(self, strips: Sequence[_Strip]) -> None:
        self._strips = list(strips)

    @classmethod
    def of(cls, images: Iterable[Image]) -> Material:
        """Pictures that are read already."""
        return cls([_Strip(image.source, None, ((0, image),)) for image in images])

    @classmethod
    def read(cls, sources: Iterable[str | os.PathLike[str]], selection: Selection | None = None) -> Material:
        """Read plain pictures, and of each PDF and video the first of the wanted pictures.

        Args:
            sources: paths, URLs, data URIs, ``-`` or ``clipboard:``; told apart by their contents.
            selection: which pages and frames are wanted.

        Raises:
            ImageError: one of them cannot be read.
            UsageError: a selection that makes no sense.
            MissingExtra: the package that reads it is not installed.
        """
        selection = selection or Selection()
        material = cls([_begin(source, selection) for source in sources])
        documents = [strip.document for strip in material._strips if strip.document]
        if selection.pages is not None and not any(document.n_pages for document in documents):
            raise UsageError("pages are chosen, and there is no PDF")
        if (selection.every or selection.frames) is not None and all(document.n_pages for document in documents):
            raise UsageError("frames are chosen, and there is no video")
        return material

    @property
    def first_images(self) -> list[Image]:
        """What is read already."""
        return [image for strip in self._strips for _, image in strip.pictures]

    def fit(
        self, vlm: VLM, prompt: str, system: str | None = None, prefill: str = ""
    ) -> tuple[list[Message], list[str]]:
        """The dialogue, and a line for each document of which not all wanted pictures fit.

        With several pictures each one stands behind a label: ``[page 3]``, ``[0:12.0]``, ``[scan.pdf, page 3]``.

        Raises: as :meth:`read`, and as :meth:`VLM.measure <ggufvlm.VLM.measure>`.
        """
        if not any(strip.document for strip in self._strips):
            return question(self.first_images, prompt, system), []
        share = self._first_share(vlm, prompt, system, prefill)
        chosen = [self._read(strip, share) for strip in self._strips]
        while True:
            messages = _messages(_labelled(chosen, prompt), system)
            size = vlm.measure(messages, prefill=prefill)
            room = size.limit - _kept_free(vlm, size.limit)
            if size.total <= room or all(len(strip.pictures) <= 1 for strip in chosen):
                return messages, [note for strip in chosen if (note := _note(strip))]
            chosen = [_thinned(strip, max(0.0, room / size.total)) for strip in chosen]

    def _first_share(self, vlm: VLM, prompt: str, system: str | None, prefill: str) -> float:
        """The share of the wanted pictures that would fit if all pictures of a document were like its first."""
        size = vlm.measure(_messages(_labelled(self._strips, prompt), system), prefill=prefill)
        fixed, wanted, n_bytes = size.n_text, 0, 0
        for strip, cells in zip(self._strips, size.n_pictures, strict=True):
            if strip.document is None:
                fixed += cells
                continue
            wanted += cells * len(strip.document.places)
            n_bytes += sum(len(image.rgb) for _, image in strip.pictures) * len(strip.document.places)
        room = max(0, size.limit - _kept_free(vlm, size.limit) - fixed)
        return min(1.0, room / wanted, _MOST_BYTES / n_bytes)

    def _read(self, strip: _Strip, share: float) -> _Strip:
        document = strip.document
        if document is None:
            return strip
        places = document.fewer(document.places, max(1, int(share * len(document.places))))
        return _Strip(strip.name, document, tuple(document.pictures(places)), len(places) < len(document.places))


def _begin(source: str | os.PathLike[str], selection: Selection) -> _Strip:
    file = identify(source)
    if file.kind is FileKind.PICTURE:
        image = decode(file.place, file.name) if isinstance(file.place, bytes) else load(source)
        return _Strip(file.name, None, ((0, image),))
    document = open_document(file, selection)
    return _Strip(file.name, document, tuple(document.pictures(document.places[:1])))


def _kept_free(vlm: VLM, limit: int) -> int:
    wanted = vlm.sampling.max_tokens
    return min(_ANSWER_CELLS if wanted < 0 else min(wanted, _ANSWER_CELLS), limit // 4)


def _messages(content: Content, system: str | None) -> list[Message]:
    messages = [Message("user", content)]
    return [Message("system", (system,)), *messages] if system else messages


def _labelled(strips: Sequence[_Strip], prompt: str) -> Content:
    if sum(len(strip.pictures) for strip in strips) == 1:
        return (*(image for strip in strips for _, image in strip.pictures), prompt)
    content: list[str | Image] = []
    for strip in strips:
        for place, image in strip.pictures:
            parts = [strip.name] if len(strips) > 1 else []
            parts += [strip.document.label(place)] if strip.document else []
            content += [f"[{', '.join(parts)}]\n", image, "\n"]
    return (*content, prompt)


def _thinned(strip: _Strip, share: float) -> _Strip:
    if strip.document is None or len(strip.pictures) < 2:
        return strip
    by_place = dict(strip.pictures)
    n = max(1, min(len(by_place) - 1, int(share * len(by_place))))
    kept = strip.document.fewer(list(by_place), n)
    return _Strip(strip.name, strip.document, tuple((place, by_place[place]) for place in kept), is_cut=True)


def _note(strip: _Strip) -> str | None:
    document = strip.document
    if document is None or not strip.is_cut:
        return None
    used, wanted = [place for place, _ in strip.pictures], len(document.places)
    if document.n_pages is None:
        times = ", ".join(document.label(place) for place in used)
        return f"{strip.name}: {len(used)} of {wanted} frames fit: {times}"
    return f"{strip.name}: {len(used)} of {wanted} pages fit: {_ranges([int(page) for page in used])}"


def _ranges(numbers: Sequence[int]) -> str:
    """``1-5, 8``"""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
