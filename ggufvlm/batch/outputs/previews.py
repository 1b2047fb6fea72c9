"""Small images of rows, for pages that show many."""

from __future__ import annotations

from pathlib import Path

from ggufvlm.batch.inputs.expand import kind_of_file
from ggufvlm.batch.journal.rows import Row
from ggufvlm.errors import GGUFVLMError
from ggufvlm.media import Image, load
from ggufvlm.media.decoding.kinds import FileKind, identify
from ggufvlm.media.documents.document import Selection, open_document
from ggufvlm.media.pixels.resize import thumbnail

_SIDE = 256  # pixels
_DPI = 96.0


def preview(row: Row) -> bytes | None:
    """What a row is about as a JPEG file, the first page of a PDF; ``None`` if there is no file of it here."""
    path = Path(row["path"]) if row["path"] and "://" not in row["path"] else None
    if path is None or not row["image"]:
        return None
    try:
        if kind_of_file(path) is FileKind.IMAGE:
            return thumbnail(load(path), _SIDE)
        return thumbnail(_page_or_frame(path, row), _SIDE)
    except GGUFVLMError:
        return None


def _page_or_frame(path: Path, row: Row) -> Image:
    document = open_document(identify(path), Selection(dpi=_DPI, frames=1))
    place = row["page"] if document.n_pages else row["time"]
    places = document.places[:1] if place is None else (place,)
    return next(image for _, image in document.images(places))
