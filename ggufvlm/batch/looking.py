"""Inputs -> questions, ahead of the engine: threads read, hash and decode, and find what is answered already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from ggufvlm.batch.identity import Identity
from ggufvlm.batch.item import Item, Source, clean
from ggufvlm.batch.journal import Journal
from ggufvlm.batch.rows import Asked
from ggufvlm.batch.templates import Template
from ggufvlm.errors import GGUFVLMError, ImageError
from ggufvlm.media import Image
from ggufvlm.media.decode import decode
from ggufvlm.media.headers import exif_fields
from ggufvlm.media.sources import is_url, read_source

_READERS = 2


@dataclass(frozen=True, slots=True)
class Looked:
    """An input after its pictures were read.

    Attributes:
        asked: ``None`` if there is an error before a question can be put.
        images: decoded; empty where the answer is known.
    """

    item: Item
    asked: Asked | None = None
    images: tuple[Image, ...] = ()
    error: GGUFVLMError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Looker:
    """Reads the pictures of one input and finds out what to ask. From any thread.

    Attributes:
        template: the run's prompt; a row's own comes first.
        system: the run's system message, likewise.
    """

    template: Template
    system: str | None
    identity: Identity
    journal: Journal

    def look(self, item: Item) -> Looked:
        """Read, hash and, unless the answer is known, decode."""
        if item.error is not None:
            return Looked(item, error=item.error)
        try:
            return self._unchanged(item) or self._look(item)
        except GGUFVLMError as error:
            return Looked(item, error=error)

    def _unchanged(self, item: Item) -> Looked | None:
        """A URL is not downloaded again when its row is there."""
        if self._needs_exif(item) or not all(isinstance(source, str) and is_url(source) for source in item.sources):
            return None
        place = self.journal.index.place_of_id(item.id)
        if place is None:
            return None
        row = self.journal.read(place)
        asked = self._asked(item, row["image"].split(), row["files"].split(), {})
        return Looked(item, asked) if row["path"] == item.path and row["key"] == asked.key else None

    def _look(self, item: Item) -> Looked:
        index = self.journal.index
        read = [_read(source, item.id) for source in item.sources]
        files = [hashlib.sha256(data).hexdigest() for data, _ in read]
        exif = exif_fields(read[0][0]) if self._needs_exif(item) else {}
        known = [index.image_id(file_id) for file_id in files]
        if all(known):
            asked = self._asked(item, [image_id for image_id in known if image_id], files, exif)
            if index.place_of_key(asked.key) is not None:
                return Looked(item, asked)
        images = tuple(decode(data, name) for data, name in read)
        asked = self._asked(item, [image.id for image in images], files, exif)
        sized = replace(asked, width=images[0].width, height=images[0].height)
        return Looked(item, sized, () if index.place_of_key(asked.key) is not None else images)

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


def _read(source: Source, name: str) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, name
    try:
        return read_source(source)
    except ImageError as error:
        if isinstance(source, Path) and source.is_symlink() and not source.exists():
            raise ImageError(f"{name}: a link to a file that is not there") from error
        raise


def look_ahead(items: Iterable[Item], look: Callable[[Item], Looked], window: int) -> Generator[Looked, None, None]:
    """Look at inputs in threads, at most ``window`` ahead; they come as they are finished."""
    pool = ThreadPoolExecutor(_READERS, "ggufvlm-batch")
    done: SimpleQueue[Future[Looked]] = SimpleQueue()
    waiting, remaining = 0, iter(items)
    try:
        while True:
            for item in remaining:
                pool.submit(look, item).add_done_callback(done.put)
                waiting += 1
                if waiting >= window:
                    break
            if not waiting:
                return
            waiting -= 1
            yield done.get().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
