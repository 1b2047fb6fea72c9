"""Inputs -> questions, ahead of the engine: threads read, hash and decode, and find what is answered already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from ggufvlm.batch.inputs.expand import media_file
from ggufvlm.batch.inputs.shared_document import content_id
from ggufvlm.batch.inputs.templates import Template
from ggufvlm.batch.item import Item, Part, Source, Whole, clean
from ggufvlm.batch.journal.identity import Identity
from ggufvlm.batch.journal.readonly_journal import KnownRows
from ggufvlm.batch.journal.rows import Asked
from ggufvlm.cache.store import digest
from ggufvlm.errors import GGUFVLMError
from ggufvlm.media import Image
from ggufvlm.media.decoding.decode import decode
from ggufvlm.media.decoding.headers import decoded_bytes, exif_fields
from ggufvlm.media.decoding.kinds import MediaFile
from ggufvlm.media.sources.read import is_url, read_source
from ggufvlm.vlm.documents import Attachments
from ggufvlm.workers.prefetch import Budget, Prefetch, Reserve

READ_AHEAD_BYTES = 512 << 20
"""How much memory decoded images may take that wait for the engine."""


@dataclass(frozen=True, slots=True)
class Looked:
    """An input after its images were read.

    Attributes:
        asked: ``None`` if there is an error before a question can be put.
        images: decoded; empty where the answer is known.
        attachments: in place of images, for PDFs and videos that are asked about as one.
    """

    item: Item
    asked: Asked | None = None
    images: tuple[Image, ...] = ()
    error: GGUFVLMError | None = None
    attachments: Attachments | None = None

    def without_images(self) -> Looked:
        """What is left of it when it is asked."""
        return replace(self, images=(), attachments=None)


class _EncodedImage(NamedTuple):
    """An image that is not decoded yet.

    Attributes:
        file_id: tells its file from others.
        decode: makes the image.
        n_bytes: tells how much memory that takes; of pages and frames, 0: only making them tells.
        data: its file; empty for pages and frames.
    """

    file_id: str
    decode: Callable[[], Image]
    n_bytes: Callable[[], int]
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Looker:
    """Reads the images of one input and finds out what to ask. From any thread.

    Attributes:
        template: the run's prompt; a row's own comes first.
        system: the run's system message, likewise.
    """

    template: Template
    system: str | None
    identity: Identity
    journal: KnownRows

    def look(self, item: Item, reserve: Reserve = lambda _n_bytes: None) -> Looked:
        """Read the images of an input, hash them and, unless the answer is known, decode them.

        Args:
            item: the input.
            reserve: told how many bytes decoding takes, before it begins.

        Returns:
            The input with its question, or with the error that keeps it from being asked.
        """
        if item.error is not None:
            return Looked(item, error=item.error)
        try:
            if item.whole is not None:
                return self._look_at_all(item, item.whole, reserve)
            return self._unchanged(item) or self._look(item, reserve)
        except GGUFVLMError as error:
            return Looked(item, error=error)
        finally:
            if item.part is not None:
                item.part.strip.leave()

    def is_done(self, item: Item) -> bool:
        """Whether there is an answer already. Decodes and downloads nothing: of a URL, a row of its name will do."""
        index = self.journal.index
        if item.error is not None:
            return False
        try:
            if any(isinstance(source, str) for source in item.sources):
                return index.place_of_id(item.id) is not None
            if item.whole is not None:
                return index.place_of_key(self._asked_at_all(item, item.whole).key) is not None
            asked = self._known(item, self._images(item))
            return asked is not None
        except GGUFVLMError:
            return False

    def _unchanged(self, item: Item) -> Looked | None:
        """A URL is not downloaded again when its row is there."""
        if item.part is not None or self._needs_exif(item):
            return None
        if not all(isinstance(source, str) and is_url(source) for source in item.sources):
            return None
        place = self.journal.index.place_of_id(item.id)
        if place is None:
            return None
        row = self.journal.read(place)
        asked = self._asked(item, (row["image"] or "").split(), (row["files"] or "").split(), {})
        return Looked(item, asked) if row["path"] == item.path and row["key"] == asked.key else None

    def _look(self, item: Item, reserve: Reserve) -> Looked:
        index = self.journal.index
        encoded = self._images(item)
        known = self._known(item, encoded)
        if known is not None:
            return Looked(item, known)
        images = _decoded(encoded, reserve)
        asked = self._asked_of(item, encoded, [image.id for image in images])
        sized = replace(asked, width=images[0].width, height=images[0].height)
        return Looked(item, sized, () if index.place_of_key(asked.key) is not None else images)

    def _images(self, item: Item) -> list[_EncodedImage]:
        return _of_part(item.part) if item.part else [_read(source, item.id) for source in item.sources]

    def _known(self, item: Item, encoded: list[_EncodedImage]) -> Asked | None:
        """The question, if files of these bytes were seen before and it was answered."""
        index = self.journal.index
        image_ids = [index.image_id(one.file_id) for one in encoded]
        if not all(image_ids):
            return None
        asked = self._asked_of(item, encoded, [image_id for image_id in image_ids if image_id])
        return asked if index.place_of_key(asked.key) is not None else None

    def _asked_of(self, item: Item, encoded: list[_EncodedImage], image_ids: list[str]) -> Asked:
        exif = exif_fields(encoded[0].data) if self._needs_exif(item) else {}
        return self._asked(item, image_ids, [one.file_id for one in encoded], exif)

    def _asked_at_all(self, item: Item, whole: Whole) -> Asked:
        """PDFs and videos are known by their bytes: which of their images fit, only the loaded model can tell."""
        chosen = f"{whole.selection} in {self.identity.n_ctx} cells"
        file_ids = [digest(content_id(media_file(source, item.id)), chosen) for source in item.sources]
        return replace(self._asked(item, file_ids, file_ids, {}), image_ids=())

    def _look_at_all(self, item: Item, whole: Whole, reserve: Reserve) -> Looked:
        files = [media_file(source, item.id) for source in item.sources]
        asked = self._asked_at_all(replace(item, sources=tuple(map(_place, files))), whole)
        if self.journal.index.place_of_key(asked.key) is not None:
            return Looked(item, asked)
        attachments = Attachments.of_files(files, whole.selection)
        reserve(sum(len(image.rgb) for image in attachments.first_images))
        first = attachments.first_images[0]
        sized = replace(asked, width=first.width, height=first.height, n_wanted=attachments.n_wanted)
        return Looked(item, sized, attachments=attachments)

    def _asked(self, item: Item, image_ids: list[str], file_ids: list[str], exif: dict[str, str]) -> Asked:
        prompt = item.prompt if item.prompt is not None else clean(self.template.fill(item, exif))
        system = item.system if item.system is not None else self.system
        return Asked(
            prompt=prompt,
            system=system,
            key=self.identity.key(image_ids, prompt, system),
            image_ids=tuple(image_ids),
            file_ids=tuple(file_ids),
        )

    def _needs_exif(self, item: Item) -> bool:
        return item.prompt is None and self.template.needs_exif


def _place(file: MediaFile) -> Source:
    return file.place  # what was downloaded is not downloaded again


def _of_part(part: Part) -> list[_EncodedImage]:
    strip, place = part.strip, part.place
    return [_EncodedImage(strip.image_id(place), lambda: strip.image(place), lambda: 0, b"")]


def _read(source: Source, name: str) -> _EncodedImage:
    data, name = _bytes_of(source, name)
    file_id = hashlib.sha256(data).hexdigest()
    return _EncodedImage(file_id, lambda: decode(data, name), lambda: decoded_bytes(data, name), data)


def _decoded(encoded: Sequence[_EncodedImage], reserve: Reserve) -> tuple[Image, ...]:
    n_bytes = sum(one.n_bytes() for one in encoded)
    if n_bytes:
        reserve(n_bytes)
        return tuple(one.decode() for one in encoded)
    images = tuple(one.decode() for one in encoded)
    reserve(sum(len(image.rgb) for image in images))
    return images


def _bytes_of(source: Source, name: str) -> tuple[bytes, str]:
    return (source, name) if isinstance(source, bytes) else read_source(source)


def look_ahead(
    items: Iterable[Item],
    look: Callable[[Item, Reserve], Looked],
    window: int,
    max_bytes: int = READ_AHEAD_BYTES,
) -> Generator[Looked, None, None]:
    """Look at inputs in threads; they come as they are finished.

    Args:
        items: the inputs, taken in the thread of who iterates.
        look: :meth:`Looker.look`.
        window: how many inputs may be looked at ahead.
        max_bytes: of decoded images that may wait here.
    """
    with closing(Prefetch(items, look, budget=Budget(max_bytes), max_items=window)) as ahead:
        for looked in ahead:
            yield looked.result()
